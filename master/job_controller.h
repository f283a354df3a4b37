// JobController: one job of one master: cuts its batches, sees to it that every state partition applies them, and
// drives publication rounds, checkpoints and recovery. What it decides with is in cutter.h, assignment.h, recovery.h,
// ledger.h and checkpoint_coordinator.h; the protocol is ARCHITECTURE.md, "The batch protocol".
//
// Executors come and go by add_executor() and remove_executor(); whatever changes, evaluate_assignment() looks at the
// whole and decides whether owners have to change.
//
// Lives on the master's loop.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/source_topics.h"
#include "common/model/watermark.h"
#include "common/runtime/lifetime.h"
#include "common/seams/checkpoint_store.h"
#include "common/seams/clock.h"
#include "common/seams/log.h"
#include "common/seams/network.h"
#include "common/seams/sink.h"
#include "common/seams/task_loop.h"
#include "master/assignment.h"
#include "master/batch_clock.h"
#include "master/batch_profiles.h"
#include "master/change_feed.h"
#include "master/checkpoint_coordinator.h"
#include "master/checkpoint_views.h"
#include "master/cutter.h"
#include "master/executor_deaths.h"
#include "master/job_figures.h"
#include "master/job_store.h"
#include "master/ledger.h"
#include "master/log_offsets.h"
#include "master/query_router.h"
#include "millrace_types.h"
#include "wire_types.h"

namespace millrace {

// An executor that may own partitions of the job.
struct Member {
  ProcessId process;
  std::string worker_name;
  Endpoint endpoint;
  int32_t lanes = 1;
  std::vector<wire::OwnedPartition> owned;  // what it says it has, at registration
  bool was_assigned = false;                // it follows an assignment, of a former master
  bool draining = false;
  // Set by the controller.
  bool assigned = false;  // it was sent an Assign of this epoch
  int64_t keys = 0;
  int64_t memory_bytes = 0;
  std::string trouble;
  wire::ExecutorFigures figures;  // as it has told last
};

// What a job needs of the master around it.
class JobHost {
 public:
  virtual ~JobHost() = default;
  virtual void send(ProcessId to, wire::Envelope envelope) = 0;
  // True while executors of this job are being started and are not yet ready.
  virtual bool expects_executors(JobId job) const = 0;
  // Why a worker has no executor for this job although it should, for people; empty if there is no such worker.
  virtual std::string start_trouble(JobId job) const = 0;
  // This executor is not needed any more.
  virtual void release_executor(JobId job, ProcessId process, const std::string& reason) = 0;
  // The job needs no executors: it stopped or failed.
  virtual void release_all_executors(JobId job, const std::string& reason) = 0;
};

struct JobOptions {
  int64_t max_in_flight = 4;                                // batches planned and not yet applied
  Duration settle = std::chrono::milliseconds(1000);        // to wait for executors that are being started
  Duration return_grace = std::chrono::milliseconds(2000);  // to wait, after a restart, for executors of before
  int64_t max_uncheckpointed = 20'000;  // batches; then no records are taken until a checkpoint succeeds
  Duration idle_round = std::chrono::milliseconds(5000);  // a round without news, to notice a sink that lost its data
  Duration rank_interval = std::chrono::milliseconds(100);
  Duration stop_limit = std::chrono::milliseconds(20'000);
  Duration retry = std::chrono::milliseconds(200);        // of a commit that failed
  Duration fence_pause = std::chrono::milliseconds(100);  // before owners whom the sink has fenced out are overruled
  Duration fence_pause_most = std::chrono::seconds(30);   // doubles up to this, until a round is complete
  int64_t replay_window = 8;     // batches ahead of the slowest partition that are asked for again
  size_t max_letters = 100'000;  // stored dead letters
  int max_deaths = 10;           // of executors, in a row and with no batch applied meanwhile; then the job fails
  CheckpointCoordinator::Options checkpoints;
};

class JobController {
 public:
  struct Deps {
    TaskLoop& loop;
    const Clock& clock;
    SinkLayout layout;  // of the job's results
    JobStore& store;
    CheckpointStore& checkpoints;
    // Null where they cannot be made: the record is then that of a failed job.
    std::unique_ptr<Log> log;
    std::unique_ptr<Sink> sink;  // for claims only; executors publish
    JobHost& host;
  };
  enum class Phase {
    kLoading,   // reading what a former master or run left
    kRunning,   // (or waiting for executors, or reassigning)
    kStopping,  // no new records; last publication and checkpoint under way
    kStopped,
    kFailed,
  };

  JobController(JobOptions options, wire::JobRecord record, Epoch epoch, Deps deps);
  ~JobController();
  JobController(const JobController&) = delete;
  JobController& operator=(const JobController&) = delete;

  // Loads and runs. A stopped or failed job only loads what describe() shows. `executors_may_return`: those of the last
  // assignment may still be alive, with their state.
  void start(bool executors_may_return);
  // What the job had come to at rest, `before` this controller: shown until this one has come as far, or knows better.
  void show_at_first(const api::JobSummary& before);

  void add_executor(Member member);
  // `ended_by_itself`: nobody told it to; its agent, on `worker`, will say by executor_ended() how that was.
  void remove_executor(ProcessId process, const std::string& reason, bool ended_by_itself);
  void executor_ended(ProcessId process, const std::string& worker, const std::string& how);
  // The executor's worker leaves: hand over what it holds; release_executor() follows.
  void drain_executor(ProcessId process);
  // Something that expects_executors() tells may have changed.
  void reconsider() { evaluate_assignment(); }
  void on_message(ProcessId from, wire::Envelope envelope);

  // Calls `done` when the job is stopped, or could not be stopped in order within the limit (it is stopped then, too).
  void stop(std::move_only_function<void(Status)> done);

  // Nothing comes any more, and all that came is counted: from now on all windows by event time are final. Gives the
  // first batch that is cut with that; none where the job has no event time.
  std::optional<BatchId> end_event_time();

  // Answers whoever waits for something: it will not come, because the job is dropped.
  void answer_all(const Error& error);

  [[nodiscard]] const wire::JobRecord& record() const { return record_; }
  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] bool needs_executors() const { return phase_ == Phase::kRunning || phase_ == Phase::kStopping; }
  [[nodiscard]] JobId id() const { return job_; }
  [[nodiscard]] SinkIdentity sink_identity() const;
  // Removes the job's keys from the sink; from then on, unless that fails, they are not claimed again.
  void purge_sink(std::move_only_function<void(Status)> done);

  [[nodiscard]] api::JobSummary summary() const;
  // What summary() tells does not change by itself any more: the job has begun, or something is in its way.
  [[nodiscard]] bool is_settled() const;
  [[nodiscard]] const SourceTopics& topics() const { return topics_; }
  [[nodiscard]] api::JobDescription describe() const;
  // As Control.batches().
  [[nodiscard]] api::BatchProfiles batches(size_t n, BatchId before) const;
  // For metrics.
  [[nodiscard]] JobFigures figures() const;
  void note_figures(ProcessId process, const wire::ExecutorFigures& figures);
  [[nodiscard]] api::AsOf as_of(BatchId batch) const;
  // One line of what it waits for, for whoever debugs.
  [[nodiscard]] std::string internals() const;
  void lag(std::move_only_function<void(Result<api::Lag>)> done);
  // `table`: empty: the first one, for top() the first one with a rank.
  void get(const std::string& table, std::vector<std::string> keys, BatchId at_least,
           std::move_only_function<void(Result<api::Values>)> done);
  void top(const std::string& table, int32_t n, BatchId at_least,
           std::move_only_function<void(Result<api::Values>)> done);
  void docs(const api::DocsRequest& request, std::move_only_function<void(Result<api::Docs>)> done);
  void changes(const api::ChangesRequest& request, std::move_only_function<void(Result<api::Changes>)> done);
  void search(const api::SearchRequest& request, std::move_only_function<void(Result<api::Page>)> done);
  void totals(const std::string& table, std::move_only_function<void(Result<api::Totals>)> done);

 private:
  struct StatePartitionStatus {
    BatchId applied;
    bool restoring = false;  // until it has reached `target` by replays
    BatchId target;
    bool loaded = false;    // its owner has said that it is at work
    bool returned = false;  // its owner has brought it to this master as it was
  };
  struct Round {
    BatchId batch;
    std::set<StatePartition> waiting;
    LogOffsets offsets;                       // next ones after the batch
    std::optional<wire::BatchTotals> totals;  // as of the batch, once they are known
    bool end_sent = false;
  };

  // job_loading.cc
  void load_checkpoints(std::deque<wire::CheckpointRef> references, std::deque<KeptCheckpoint> kept);
  void accept_manifest(const wire::CheckpointRef& reference, const std::string& bytes,
                       std::deque<KeptCheckpoint>& kept);
  void refuse_checkpoint(const wire::CheckpointRef& reference, const std::string& why);
  void load_log(std::deque<KeptCheckpoint> kept);
  void begin_running();
  void watch_log();

  // job_controller.cc: batches
  void schedule_tick();
  void tick();
  void try_cut();
  [[nodiscard]] bool may_cut() const;
  [[nodiscard]] bool wants_tick() const;
  [[nodiscard]] bool needs_time() const { return record_.spec.plan.needs_time; }
  [[nodiscard]] static wire::RunBatch plan_of(const wire::BatchRecord& record);
  int64_t take_watermark(int64_t time_ms);
  void tell_watermark(const wire::BatchTotals& totals);
  [[nodiscard]] bool has_levels() const { return record_.spec.plan.levels > 1; }
  [[nodiscard]] bool reader_fills_up(ProcessId owner, LogPartition partition) const;
  void cut(bool take_records);
  void commit_batch(BatchId batch);
  void recommit_later(const std::string& trouble);
  void recommit();
  void on_durable(BatchId batch);
  void on_fetched(ProcessId from, const wire::Envelope& envelope);
  void on_map_done(ProcessId from, const wire::Envelope& envelope);
  void on_applied(ProcessId from, const wire::Applied& applied);
  void on_published(ProcessId from, BatchId batch, const wire::Published& published);
  void on_round_changes(ProcessId from, BatchId batch, wire::RoundChanges changes);
  void on_round_ended(BatchId batch, bool lost);
  void repair_sink();
  void claim_sink();
  void on_fenced_out(ProcessId from, BatchId batch, const wire::FencedOut& fenced);
  void overrule_fences();
  void on_trouble(ProcessId from, const wire::Trouble& trouble);
  [[nodiscard]] std::string stuck_trouble() const;
  [[nodiscard]] std::string work_of(ProcessId process) const;
  [[nodiscard]] ExecutorDeaths::Progress progress() const;
  void on_restore_failed(ProcessId from, Generation told, const wire::RestoreFailed& failure);
  void load_again(ProcessId owner, Generation told);
  void store_totals(const std::vector<wire::BatchTotals>& advanced);
  void advance_applied();
  void advance_round();
  void send_progress();
  [[nodiscard]] BatchId slowest_applied() const;
  [[nodiscard]] bool restoring() const;
  [[nodiscard]] bool wants_publication() const;
  [[nodiscard]] bool wants_checkpoint() const;
  [[nodiscard]] bool may_checkpoint() const;
  [[nodiscard]] std::map<std::string, std::string> round_status(const Round& round) const;
  [[nodiscard]] LogOffsets offsets_after(BatchId batch) const;

  // job_assignment.cc
  void evaluate_assignment();
  [[nodiscard]] std::vector<Candidate> candidates() const;
  [[nodiscard]] bool has_orphans() const;
  [[nodiscard]] bool has_leavers() const;
  [[nodiscard]] bool must_wait_for_executors();
  [[nodiscard]] bool must_renew_states(const Assignment& next) const;
  void evaluate_later();
  void credit_owned(const Member& member);
  void begin_assignment(bool balance);
  void apply_assignment(Assignment next);
  void mark_moved_partitions(const Assignment& next);
  void send_assign(const Member& member);
  void send_replayed_plans(const Member& member);
  void plan_replays();
  void issue_replays();
  void release_leavers();
  [[nodiscard]] bool is_mapping(ProcessId process) const;
  [[nodiscard]] bool is_current(ProcessId from, const wire::OwnedPartition& report) const {
    return is_current(from, report.partition, report.generation);
  }
  [[nodiscard]] bool is_current(ProcessId from, int32_t partition, int64_t generation) const;
  [[nodiscard]] static BatchId newest_begun(const wire::OwnedPartition& report) {
    return BatchId(std::max(report.applied, report.begun));  // the latter is not told, and 0, where it is no newer
  }

  void begin_checkpoint(const Ledger::Batch& batch);
  void commit_checkpoint(const KeptCheckpoint& added, std::move_only_function<void(Status)> done);
  void on_checkpoint_completed(BatchId batch);
  void reload_all_of(ProcessId owner);
  void on_checkpoint_abandoned(BatchId batch, const std::string& cause, bool failed);
  void fail_job(const std::string& problem);
  void check_stopped();
  [[nodiscard]] std::string describe_untidy_stop() const;
  void finish_stop(const std::string& note);
  void save_record(std::move_only_function<void(Status)> done);
  void send(ProcessId to, wire::Body body, BatchId batch = BatchId(0));
  void send_to_assigned(const wire::Body& body, BatchId batch = BatchId(0));
  [[nodiscard]] api::Values values_of(size_t table, const QueryRouter::Answer& answer) const;
  [[nodiscard]] Result<size_t> find_table(const std::string& name, WantedTable wanted) const;
  QueryRouter::Done answer_by(size_t table, std::move_only_function<void(Result<api::Values>)> done);
  [[nodiscard]] Result<api::Changes> changes_of(size_t table, const ChangeFeed::Answer& answer) const;
  [[nodiscard]] CheckpointViews::Hooks view_hooks();
  [[nodiscard]] api::Page page_of(size_t table, CheckpointViews::Page read) const;
  [[nodiscard]] api::Docs docs_of(size_t table, size_t limit, const QueryRouter::Answer& answer) const;
  [[nodiscard]] Member* find_member(ProcessId process);

  // Constant after construction.
  const JobOptions options_;
  const Epoch epoch_;
  const JobId job_;
  TaskLoop& loop_;                // outlives this
  const Clock& clock_;            // outlives this
  JobStore& store_;               // outlives this
  CheckpointStore& checkpoints_;  // outlives this
  JobHost& host_;                 // outlives this
  const SinkLayout layout_;
  const SourceTopics topics_;

  // Owned by the loop.
  wire::JobRecord record_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<Sink> sink_;
  Phase phase_ = Phase::kLoading;
  std::map<ProcessId, Member> members_;
  Assignment assignment_;
  std::map<LogPartition, Generation> log_since_;  // assignment number at which its owner got it
  bool assigning_ = false;                        // a new assignment is being made durable
  bool assigned_once_ = false;                    // this epoch has told an assignment
  bool handover_ready_ = false;                   // a checkpoint was made so that partitions can move cheaply
  bool checkpoint_wanted_ = false;
  std::vector<StatePartition> reload_;  // partitions whose owner's state cannot be used
  bool evaluating_later_ = false;
  bool executors_may_return_ = false;
  MonotonicTime hold_until_;  // before this, executors that may come are waited for
  std::vector<StatePartitionStatus> states_;

  Cutter cutter_;
  std::unique_ptr<Ledger> ledger_;
  CheckpointCoordinator coordinator_;
  QueryRouter queries_;
  ChangeFeed changes_;
  CheckpointViews views_;
  std::deque<RecoveryTask> replays_;

  bool ticking_ = false;
  bool cut_missed_ = false;  // a cut was due and too many batches were in flight
  bool tick_due_ = false;    // of a job that needs time: the next batch is one
  MonotonicTime next_tick_;
  BatchClock::Recorded recorded_times_;    // of the batch log
  std::optional<Watermark> watermark_;     // of a job by event time, once it runs
  std::optional<BatchId> end_of_time_;     // see end_event_time()
  std::optional<BatchClock> batch_clock_;  // of a job that needs time, once it runs
  BatchId restart_floor_;                  // newest batch that was durable when this master began
  BatchId applied_;                        // by every partition, as told; never lowered
  bool answers_ = false;                   // applied_ has reached the floor
  BatchId last_changed_;                   // newest batch with records, or that changed something without any
  BatchId published_;                      // newest complete round
  std::optional<Round> round_;
  bool force_round_ = false;
  std::map<StatePartition, Generation> fenced_;  // out of the sink, although this is the owner's generation
  bool overruling_later_ = false;
  Duration fence_pause_{};  // before they are overruled; back to none when a round is complete
  bool claiming_ = false;   // the sink's keys are being claimed again
  bool purging_ = false;    // they are to go, or are gone: late reports of losses are no reason to claim them
  MonotonicTime last_round_;
  MonotonicTime last_rank_;
  MonotonicTime last_checkpoint_;
  bool recommitting_ = false;
  size_t letters_ = 0;
  WriteSet unsaved_letters_;  // whose commit failed; bounded like letters_
  BatchProfiles profiles_;
  JobEvents events_;
  std::map<LogPartition, Offset> log_ends_;
  bool log_seen_ = false;         // since the job began, so that a log that was made anew has been noticed
  wire::BatchTotals last_known_;  // until the batch log is loaded, and at rest if it has not come as far again
  BatchId last_published_;        // in the same way
  struct Stuck {
    ProcessId process;
    std::string what;
    BatchId applied;  // by all of the job then
  };
  std::optional<Stuck> stuck_;  // the job's code does not come back, as an executor has said that may be gone
  ExecutorDeaths deaths_{options_.max_deaths};
  std::string log_trouble_;
  std::string store_trouble_;
  std::string checkpoint_trouble_;
  bool checkpoints_fail_ = false;  // the last one, by itself
  std::string sink_trouble_;
  std::string fence_trouble_;
  std::vector<std::move_only_function<void(Status)>> stop_waiters_;
  MonotonicTime stop_deadline_;
  Lifetime lifetime_;  // last: its guards end first
};

}  // namespace millrace
