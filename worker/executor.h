// Executor: the control role of one executor process, which does the work of one job on one host: follows the
// master's assignments, passes plans to its lanes, brings what they map to the owners, and writes checkpoints and
// publications. The protocol is ARCHITECTURE.md, "The batch protocol".
//
// Life: registers with every master that comes up at the master's endpoint; the first one that accepts it gives it its
// job. While there is no master it keeps everything and goes on with what is durable. What a master of an older epoch
// says is ignored. It ends by Deps::exit only.
//
// Lives on one loop, its lanes on theirs.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/runtime/lifetime.h"
#include "common/runtime/messenger.h"
#include "common/seams/checkpoint_store.h"
#include "common/seams/clock.h"
#include "common/seams/output.h"
#include "common/seams/random.h"
#include "common/seams/receiver.h"
#include "common/seams/sink.h"
#include "stream/job.h"
#include "worker/appender.h"
#include "worker/checkpointer.h"
#include "worker/lane_group.h"
#include "worker/master_reports.h"
#include "worker/publisher.h"
#include "worker/query_board.h"
#include "worker/rank_book.h"
#include "worker/restorer.h"
#include "worker/shuffle_router.h"

namespace millrace {

struct ExecutorOptions {
  ProcessId process;
  ProcessId worker;  // its agent
  JobId job;
  Endpoint master;
  size_t lanes = 1;
  std::string version;
  // How long a call into the job's code may take, as far as it does not get on, before people are told; zero: for ever.
  Duration lane_timeout{};
};

class Executor : public MessengerHandler, private LaneHandler {
 public:
  struct Deps {
    TaskLoop& loop;  // these outlive the executor
    const Clock& clock;
    Network& network;
    CheckpointStore& checkpoints;
    JobFactory make_job;  // of the built-in types
    // Of the types in a shared library, given its bytes, and its name for people.
    std::function<Result<JobFactory>(const std::string& bytes, const std::string& name)> load_library;
    std::function<Result<std::unique_ptr<Sink>>(const wire::JobSpec&)> make_sink;     // lives on `loop`
    std::function<Result<std::unique_ptr<Output>>(const OutputTarget&)> make_output;  // lives on `loop`
    std::function<LaneSeams(size_t index)> lane_seams;
    // Brings what JobSpec::receiver names into JobSpec::source, by the master's services at `api`. Calls `problem` on
    // `loop` whenever another thing is in its way; "": none.
    std::function<std::unique_ptr<RunningReceiver>(const wire::JobSpec&, const std::string& api,
                                                   std::function<void(const std::string&)> problem)>
        start_receiver;
    std::function<void(int exit_code, const std::string& reason)> exit;  // called once; nothing is done after it
  };

  Executor(ExecutorOptions options, Deps deps);
  ~Executor() override;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Connects to the master.
  void start();
  // What batches have appended has not all reached the job's outputs.
  [[nodiscard]] bool is_appending() const;

 private:
  struct Owned {
    Generation generation;
    BatchId applied;
    BatchId begun;
    bool restored = false;
  };
  // Parts that exist once the job is known.
  struct Work;

  // MessengerHandler
  void on_peer_up(const PeerInfo& peer) override;
  void on_peer_unreachable(const PeerInfo& peer, const std::string& reason) override;
  void on_refused(const Endpoint& endpoint, const std::string& reason) override;
  void on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer bulk) override;

  // executor.cc: life
  void register_with_master();
  void on_accepted(const wire::Header& header, const wire::ExecutorAccepted& accepted);
  void load_job(const wire::Header& header, const wire::JobSpec& spec);
  Status start_job(const wire::Header& header, const wire::JobSpec& spec, const JobFactory& make_job);
  void check_ready();
  void send_ready(const std::string& probe, const std::string& problem);
  [[nodiscard]] std::string log_problem() const;
  void beat();
  void look_after_lanes();
  [[nodiscard]] wire::ExecutorFigures figures() const;
  void end(int exit_code, const std::string& reason);
  [[nodiscard]] bool lease_holds() const;
  [[nodiscard]] wire::Header header(BatchId batch) const;
  // To the master as it is; reports about batches only while its assignment is followed.
  void send_to_master(BatchId batch, const wire::Body& body);
  void report_to_master(BatchId batch, const wire::Body& body);

  // executor_protocol.cc: what the master says
  void on_master_message(const wire::Envelope& envelope);
  void on_work_message(const wire::Envelope& envelope);
  void on_assign(const wire::Header& header, const wire::Assign& assign);
  [[nodiscard]] bool is_of_former_version(const wire::Assign& assign) const;
  std::vector<Restorer::Gained> update_owned(const wire::Assign& assign);
  void assign_lanes(const wire::Assign& assign, Stamp stamp, bool new_epoch);
  void on_run_batch(BatchId batch, const wire::RunBatch& run);
  void on_progress(const wire::Progress& progress);
  void on_replay(const wire::Replay& replay);
  void on_end_round(BatchId batch, const wire::EndRound& end);
  void try_end_round();
  void repeat_restore_failures();
  void follow_receiver();

  // executor_lanes.cc: LaneHandler, and what the parts of Work answer
  void make_work(Incarnation incarnation, const wire::JobSpec& spec, std::shared_ptr<const Job> job,
                 std::unique_ptr<Sink> sink, std::vector<Appender::Named> outputs);
  [[nodiscard]] Result<std::vector<Appender::Named>> make_outputs(const wire::JobSpec& spec,
                                                                  const std::shared_ptr<const Job>& job) const;
  void on_opened(size_t lane, Result<std::optional<LogDescription>> log) override;
  void on_fetched(Stamp stamp, wire::FetchedPartition fetched) override;
  void on_mapped(Stamp stamp, MappedRange mapped) override;
  void on_applied(Stamp stamp, LaneApplied applied) override;
  void on_emitted(Stamp stamp, LevelBlocks blocks) override;
  void on_appended(AppendShare share) override;
  void on_snapshot(Stamp stamp, Snapshot snapshot) override;
  void on_rank(Stamp stamp, RankShare share) override;
  void on_frozen(Stamp stamp, FrozenShare share) override;
  void on_restored(uint64_t ticket) override;
  void on_answer(LaneAnswer answer) override;
  void on_log_trouble(LogPartition partition, std::optional<Error> error) override;
  void on_failed(Error error) override;
  void on_rank_candidates(RankShare share);
  void on_publication_settled(const OwnedState& state, BatchId round, PublicationEnd end, bool fenced);
  void on_round_ended(BatchId round, bool lost, bool fenced);
  void on_restore_failed(const std::string& file, const Error& error);
  void settle_in_lane(const OwnedState& state, BatchId round, PublicationEnd end);

  // Constant after construction.
  const ExecutorOptions options_;
  const Deps deps_;

  // Owned by the loop.
  Messenger messenger_;
  MasterReports reports_;
  ShuffleRouter router_;
  bool ended_ = false;
  Duration lease_ = std::chrono::milliseconds(1000);  // these two until the master says its own
  Duration heartbeat_ = std::chrono::milliseconds(250);
  ProcessId master_;  // 0: none yet
  Epoch epoch_;       // the highest heard of
  Incarnation incarnation_;
  MonotonicTime last_heard_;  // of the master
  std::optional<wire::ExecutorAccepted> accepted_;
  std::string problem_;  // why it cannot work
  size_t lanes_open_ = 0;
  uint64_t beats_ = 0;
  std::optional<LogDescription> log_;
  std::unique_ptr<Work> work_;
  std::map<StatePartition, Owned> owned_;
  std::set<OwnedState> owned_states_;
  std::set<StatePartition> owned_partitions_;
  std::optional<std::pair<BatchId, wire::EndRound>> round_end_;  // waits for the rank of its batch
  std::vector<wire::RestoreFailed> restore_failures_;
  Lifetime lifetime_;
};

}  // namespace millrace
