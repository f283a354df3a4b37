// A job in a test: records in, batches run, results out, in milliseconds and without a cluster. The job's own code runs
// as on the cluster: mapped range by range, shuffled as bytes, applied by state partitions, level by level,
// checkpointed and restored.
//
//   millrace::testing::TestJob job(millrace_job_word_count);
//   job.push("a b a");
//   job.run_batch();
//   job.crash();       // every state partition is restored from the last checkpoint and gets the later batches again
//   EXPECT_EQ(job.table(), (std::map<std::string, std::string>{{"a", "2"}, {"b", "1"}}));
//
// A function of for_each_batch is called as the batches run, and by crash() once more for those that are run again.
//
// What only a test's own mistakes can cause (an unknown setting, say) throws std::invalid_argument.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "stream/job_builder.h"

namespace millrace::testing {

// Of a job in a test.
struct Options {
  std::map<std::string, std::string> settings;  // as --set gives them
  int32_t state_partitions = 8;                 // any number gives the same results
  int64_t max_record_bytes = 1 << 20;           // longer records are refused
  // Records are given to the map in pieces of at most so many, as fetches would.
  size_t piece_records = 1000;
  std::chrono::microseconds batch_interval = std::chrono::milliseconds(100);
  std::vector<std::string> topics;  // of the source; none: one without a name
};

// A dead letter.
struct TestLetter {
  std::string topic;      // of its source; none has a name: empty
  int32_t partition = 0;  // of the topic
  Offset offset;          // in it
  std::string reason;     // why it was refused
};

// A job, its log and what it has published.
class TestJob {
 public:
  // std::invalid_argument where the definition refuses its settings.
  explicit TestJob(const JobDefinition& definition, Options options = {});

  // Appends a record to a partition of the log.
  void push(std::string_view value, int32_t partition = 0) { push({.value = std::string(value)}, partition); }
  // The same, of a record that has a key or a time, or no value.
  struct Input {
    std::optional<std::string> key = std::nullopt;
    std::optional<std::string> value = std::nullopt;
    int64_t timestamp_ms = 0;
    std::optional<std::string> topic = std::nullopt;  // one of Options::topics; none: the first of them
  };
  // Appends it.
  void push(Input record, int32_t partition = 0);

  // Takes what was pushed since the last one as a batch, runs it, and publishes. Its time is that of the one before and
  // a batch interval.
  void run_batch();
  // The same before its time, as when a reader's memory is full: nothing comes to an end with it, and its time is that
  // of the next run_batch() (unless time passes in between).
  void run_early_batch();
  // Lets time pass without a batch, as when no master is there: the next one's time is so much later, at a multiple of
  // the batch interval.
  void advance(std::chrono::milliseconds duration);
  // The newest batch's, in milliseconds; before the first one 0.
  [[nodiscard]] int64_t batch_time() const { return newest_.time_ms; }
  // Of a job by event time: up to which event time all records have come, as the newest batch saw it. It follows the
  // records of the batches before; of a partition of the log that nothing was ever pushed to nothing is known.
  [[nodiscard]] int64_t watermark() const { return newest_.watermark_ms; }
  // Nothing comes any more: from the next batch on all windows by event time are final. As at the end of `millrace
  // run`.
  void end_input() { ended_ = true; }
  // Everything a worker holds in memory is saved...
  void checkpoint();
  // ...and lost: the state is that of the last checkpoint, and the batches after it are run again, in other pieces.
  // Each of them must give the bytes that it gave before; std::logic_error says which did not.
  void crash();

  // The job goes on by other code, or with other settings, as `millrace upgrade` does it; std::invalid_argument where
  // that would refuse it.
  void upgrade(const JobDefinition& definition, std::map<std::string, std::string> settings = {});

  // A published table as a reader of the sink sees it: what was published so far, key by key. Where none is named here
  // and below it is the first one; of a rank, the first one that has one.
  [[nodiscard]] const std::map<std::string, std::string>& table(const std::string& name = "") const;
  // A key as `millrace get` answers it.
  [[nodiscard]] std::optional<std::string> get(std::string_view key, const std::string& table = "") const;
  // The members of a key of an index (the first one of the job) with their counts, by these, as `millrace docs` answers
  // it.
  [[nodiscard]] std::vector<std::pair<std::string, int64_t>> docs(
      std::string_view key, size_t limit, const std::optional<std::pair<std::string, int64_t>>& after = {},
      const std::string& table = "") const;
  // The first n of the rank, as `millrace top` answers it.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> top(size_t n, const std::string& table = "");
  // The lines that write(name) has appended, part by part.
  [[nodiscard]] std::vector<std::string> lines(const std::string& name) const;
  [[nodiscard]] const std::vector<TestLetter>& dead_letters() const { return letters_; }
  [[nodiscard]] int64_t records() const { return records_; }
  // Records that came too late for some window by event time; no dead letters.
  [[nodiscard]] int64_t late_records() const { return late_records_; }

 private:
  struct Pushed {
    int32_t partition;
    Input record;
  };
  struct Range {
    int32_t partition;
    OffsetRange range;
    std::vector<Input> records;
    uint64_t fingerprint = 0;
  };
  struct Batch {
    BatchContext context;
    std::vector<Range> ranges;           // ascending by partition
    std::vector<uint64_t> fingerprints;  // of what state partitions emitted, by level, then partition
    std::map<std::pair<size_t, int32_t>, std::string> appended;  // by output and part
  };
  using Sections = std::map<StatePartition, std::vector<SharedBuffer>>;

  [[nodiscard]] std::shared_ptr<const Job> make(const JobDefinition& definition,
                                                const std::map<std::string, std::string>& settings) const;
  static std::vector<std::string> pieces(const Range& range, size_t records);
  void run(std::chrono::microseconds time, bool tick);
  void follow_plan();
  [[nodiscard]] size_t number_of(const std::string& table, WantedTable wanted) const;
  [[nodiscard]] StateTable& published_of(std::string_view key, const std::string& table, WantedTable wanted) const;
  void make_tables();
  void restore(const std::vector<StateRun>& checkpoints);
  void apply(Batch& batch, bool again);
  void apply_levels(Batch& batch, Sections sections, bool again);
  void append(Batch& batch, bool again);
  void publish(bool all = false);
  void forget_published(StatePartition partition);
  StateTable& table_of(StatePartition partition) { return *tables_[static_cast<size_t>(partition.value())]; }

  const Options options_;
  std::shared_ptr<const Job> job_;
  std::vector<Pushed> pushed_;
  std::map<int32_t, int64_t> next_offset_;
  std::unique_ptr<MapTask> map_task_;
  std::vector<std::unique_ptr<StateTable>> tables_;
  std::vector<StateRun> checkpoints_;  // increments, the oldest first
  int64_t checkpoint_tick_ms_ = 0;
  std::vector<Batch> since_checkpoint_;
  BatchContext newest_;
  int64_t newest_tick_ms_ = 0;
  std::chrono::microseconds now_{};
  std::optional<Watermark> watermark_;  // of a job by event time
  bool ended_ = false;
  int64_t records_ = 0;
  int64_t late_records_ = 0;
  std::vector<TablePlan> plans_;
  std::map<std::string, std::map<std::string, std::string>> sink_;  // by table
  std::vector<OutputPlan> outputs_;
  std::vector<std::unique_ptr<BatchFunction>> functions_;                      // by output; null: it has lines
  std::map<std::pair<std::string, int32_t>, std::vector<std::string>> lines_;  // by output and part
  std::vector<TestLetter> letters_;
};

}  // namespace millrace::testing
