// Oracle: what a run of a SimCluster has to look like, checked as it happens, from the outside only. It reads the log
// itself with its own splitting, learns the batches from what the master made durable, and compares everything that
// anybody can see with the fold of exactly those records:
//
//   batch log     ranges tile the offsets of each log partition; a durable batch is never rewritten; batch time never
//                 goes back, and ticks are at multiples of the batch interval, each later than the one before; the
//                 watermark never goes back either, nor before what all log partitions have told in earlier batches
//   assignments   of a job with levels give all state partitions one generation
//   sink          each value is the fold at the batch it was published for; when a partition is done at a batch, all of
//                 its values are; a round's rank and status are those of its batch, and all partitions have reached
//                 it; generations and batches never go back; nothing is written of a batch that is not durable
//   checkpoints   opened as they are referred to: each partition is the fold at the checkpoint's batch, and no file is
//                 one of a former version of the job
//   changes       are of all keys that changed since the position that was asked from, each as of the batch told
//   pages         of a search are all of the first one's batch, and together the table as of that
//   answers       of get, top and docs equal the fold at the batch they state, and no client sees an earlier batch
//                 after a later one of the same incarnation
//
// A job that goes back to a checkpoint is what it was at that checkpoint: the batches that followed never were.
//
// The sink has nothing but these values: what is removed is gone there, and nothing is removed that is there.
//
// The first breach is kept, as a sentence. Values are exact: word_count's count, two_sum's count and sum of places, the
// order of merging for `chain` (tests/sim/chain_job.h), both tables of `levels` (tests/sim/level_job.h), and the
// postings of an index (tests/sim/index_job.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "millrace_types.h"
#include "stream/job.h"
#include "tests/fakes/fake_checkpoint_store.h"
#include "tests/fakes/fake_log.h"
#include "tests/fakes/fake_output.h"
#include "tests/fakes/fake_sink.h"
#include "wire_types.h"

namespace millrace {

class Oracle {
 public:
  struct Deps {
    const FakeTopic& topic;  // these outlive the oracle
    const FakeSinkServer& sink;
    const FakeOutputPlace& output;
    const FakeCheckpointDisk& checkpoints;
    JobFactory make_job;  // the real ones, to read checkpoints with
  };
  // What the job knows of a word.
  struct Sums {
    int64_t count = 0;
    uint64_t sum = 0;                  // of hashes of places; levels: the digest
    uint64_t factor = 1, summand = 0;  // chain: x -> factor * x + summand, in the order of merging
  };
  struct Totals {
    int64_t records = 0;
    int64_t dead_letters = 0;
    int64_t emitted = 0;
    std::string offsets;  // next ones, as the sink's status writes them
  };

  // What words begin with that a level counts and nobody sees.
  static constexpr char kUnseen[] = "unseen ";
  static bool is_unseen(const std::string& key) { return key.starts_with(kUnseen); }

  // A member of a key of an index is a word like others, by this name.
  static constexpr char kMember = '\t';
  static std::string name_of(const std::string& key, const std::string& member) { return key + kMember + member; }
  static bool is_posting(const std::string& word) { return word.find(kMember) != std::string::npos; }

  explicit Oracle(Deps deps) : deps_(std::move(deps)) {}

  // A pair that the master's disk made durable.
  void on_durable(const std::string& key, const std::string& value);
  void on_sink_event(const FakeSinkServer::Event& event);

  // What the newest answers said, for the `floor` of a question that is asked now.
  [[nodiscard]] int64_t newest_answered(const std::string& name, bool top) const;
  void on_values(const std::string& name, const api::Values& values, int64_t floor);
  void on_top(const std::string& name, int n, const api::Values& values, int64_t floor);
  // `after`: the last of the page before; none: the first page.
  void on_docs(const std::string& name, const api::DocsRequest& request, const std::optional<api::Doc>& after,
               const api::Docs& docs, int64_t floor);
  void on_changes(const api::ChangesRequest& request, const api::Changes& changes);
  // `before`: the page before; none: the first page.
  void on_page(const api::SearchRequest& request, const std::optional<api::Page>& before, const api::Page& page);
  void on_totals(const std::string& name, const api::Totals& totals);

  // No word is there any more that time will take away.
  [[nodiscard]] bool is_at_rest(const std::string& name) const;
  // At rest: everything in the log is in a batch, and the sink shows all of it.
  void check_rest(const std::string& name);

  [[nodiscard]] const std::string& breach() const { return breach_; }  // empty: none
  [[nodiscard]] uint64_t checkpoints_read() const { return checkpoints_read_; }
  [[nodiscard]] uint64_t times_gone_back() const { return times_gone_back_; }

 private:
  struct Job {
    JobId id;
    wire::JobSpec spec;
    Incarnation incarnation;
    Incarnation claimed;                                   // the sink's keys
    std::vector<wire::BatchRecord> log;                    // all, in order
    LogOffsets next;                                       // offset, by log partition
    std::vector<std::string> records;                      // by batch, as written; [0] is empty
    int64_t time_ms = 0;                                   // of the newest batch
    int64_t tick_ms = 0;                                   // the newest tick
    int64_t watermark_ms = 0;                              // of the newest batch
    std::map<int32_t, int64_t> events;                     // of a job by event time: the greatest time by log partition
    std::map<int64_t, std::vector<std::string>> appended;  // of `appending`: the words of each batch
    std::map<std::string, int64_t> arrived;                // of a job of time_jobs.h, and of levels: with this batch
    std::map<std::string, std::vector<std::pair<int64_t, int64_t>>> arrivals;  // (batch time, count) of all batches
    std::vector<Totals> totals;                                                // by batch
    std::map<std::string, std::vector<std::pair<int64_t, Sums>>> words;        // ascending by batch
    std::map<StatePartition, std::pair<Generation, BatchId>> published;        // newest seen
    BatchId round;
    int64_t checkpoint = 0;
    int64_t answered[2] = {0, 0};  // by get, by top

    [[nodiscard]] int64_t newest() const { return static_cast<int64_t>(totals.size()) - 1; }
  };

  void on_job(const wire::JobRecord& record);
  void go_back(Job& job, const wire::JobRecord& record);
  [[nodiscard]] Job new_job(const wire::JobRecord& record) const;
  void on_batch(Job& job, const wire::BatchRecord& record);
  void on_assignment(const Job& job, const wire::AssignmentRecord& record);
  // What a job of time_jobs.h makes of the words that have arrived, and of the time.
  void pass_time(Job& job, const wire::BatchRecord& record);
  // The windows by event time that the watermark has passed.
  void pass_watermark(Job& job, const wire::BatchRecord& record);
  void check_watermark(Job& job, const wire::BatchRecord& record);
  // What level 2 makes of the words that have arrived, or, of a job of time_jobs.h, of those that there are now.
  void pass_levels(Job& job, int64_t batch);
  void pass_counts(Job& job, int64_t batch);
  // What one word of a record brings to an index.
  static void add_posting(Job& job, int64_t batch, const std::string& word, int64_t partition, int64_t offset);
  // 0: there is no such word, not yet or no more.
  [[nodiscard]] static int64_t newest_count(const Job& job, const std::string& word);
  static void set_count(Job& job, const std::string& word, int64_t batch, int64_t count);
  void check_time(Job& job, const wire::BatchRecord& record);
  void fold_range(Job& job, int64_t batch, const wire::PlannedRange& range, Totals& totals);
  void check_value(Job& job, const FakeSinkServer::Event& event);
  void check_done(Job& job, const FakeSinkServer::Event& event);
  void check_round(Job& job, const FakeSinkServer::Event& event);
  void check_checkpoint(Job& job, const wire::CheckpointRef& reference);
  // False: the answer is about no job that is known, or goes back.
  bool check_as_of(Job& job, const api::AsOf& as_of, int64_t floor, bool top);
  // As of the batch; none: no record up to it has the word, or it is gone again.
  [[nodiscard]] const Sums* sums_at(const Job& job, const std::string& word, int64_t batch) const;
  [[nodiscard]] std::map<std::string, std::string> values_at(
      const Job& job, const std::string& table, int64_t batch,
      const std::function<bool(const std::string&)>& wanted) const;
  // The first difference between what the job has appended and the log.
  [[nodiscard]] std::string appended_wrong(const Job& job) const;
  // What readers of the sink find, by the names of words.
  [[nodiscard]] static std::map<std::string, std::string> shown(const FakeSinkServer::Table& table);
  [[nodiscard]] static std::string text_of(const std::string& type, const std::string& table, const Sums& sums);
  // The first one, or nothing.
  [[nodiscard]] static std::string difference(const std::map<std::string, std::string>& seen,
                                              const std::map<std::string, std::string>& expected);
  [[nodiscard]] static std::string at_batch(int64_t batch);
  [[nodiscard]] Job* find(const std::string& name);
  void breach(const Job& job, const std::string& what);

  const Deps deps_;
  std::map<JobId, Job> jobs_;
  std::map<std::string, JobId> newest_of_;  // by name
  std::string breach_;
  uint64_t checkpoints_read_ = 0;
  uint64_t times_gone_back_ = 0;
};

}  // namespace millrace
