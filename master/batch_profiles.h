// BatchProfiles: where the time of a job's newest batches has gone, as far as this master has run them: what it has
// seen itself, and what executors told of their lanes. ARCHITECTURE.md, "Profiles of batches", says what the steps
// mean.
//
// An executor's times count from when it got the batch's plan. When that was nobody knows: half of what is missing in
// its report at the master, as the way there and back, is taken to be the way there.
//
// Of batches that are not kept, or that a former master has cut, all calls are ignored. Plain data of the master's
// loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/base/time.h"
#include "common/metrics/latency_histogram.h"
#include "millrace_types.h"
#include "wire_types.h"

namespace millrace {

class BatchProfiles {
 public:
  static constexpr size_t kKept = 600;

  // Of all batches, also those that are not kept any more.
  struct Latencies {
    LatencyHistogram durable;  // since the batch's cut, like these
    LatencyHistogram mapped;
    LatencyHistogram applied;
    LatencyHistogram published;
    LatencyHistogram checkpoint;  // since its batch was reduced
  };

  void cut(const wire::BatchRecord& record, int64_t bytes, MonotonicTime now);
  void durable(BatchId batch, MonotonicTime now);
  // A range, named by `place` for people, was mapped; `worker`: of the executor.
  void mapped(BatchId batch, const std::string& worker, const std::string& place, const wire::MapResult& result,
              MonotonicTime now);
  void reduced(const std::string& worker, const wire::LaneTimes& times, MonotonicTime now);
  // By all partitions, and so is what came before. What is told of it later does not count.
  void applied(BatchId batch, MonotonicTime now);
  // What the lanes of an executor did for the batch's checkpoint.
  void froze(BatchId batch, const std::string& worker, const std::vector<wire::LaneFreeze>& lanes);
  // After applied().
  void checkpointed(BatchId batch, MonotonicTime now);
  // Everything up to this batch, whose publication it was.
  void published(BatchId batch, MonotonicTime now);

  // The newest n of those that are applied, oldest first; with `before` not 0 of those before it.
  [[nodiscard]] std::vector<api::BatchProfile> newest(size_t n, BatchId before = BatchId(0)) const;

  [[nodiscard]] const Latencies& latencies() const { return latencies_; }
  // By step, how long each alone has held up batches until they were applied.
  [[nodiscard]] const std::map<std::string, int64_t>& held_us() const { return held_us_; }
  // Greatest time stamp of a record batch that is applied, 0: none.
  [[nodiscard]] int64_t newest_record_ms() const { return newest_record_ms_; }

 private:
  // What one lane, or one log partition, had to do with a step.
  struct Part {
    std::string who;
    int64_t begin_us = 0;
    int64_t end_us = 0;
    int64_t busy_us = 0;
    int64_t own_us = 0;  // by which it is compared with others
  };
  struct Entry {
    MonotonicTime cut_at;
    api::BatchProfile profile;  // with steps once it is applied
    bool applied = false;
    // Until then.
    std::vector<Part> fetches;  // by log partition
    std::vector<Part> maps;     // by lane
    std::vector<Part> reduces;
    std::optional<int64_t> arrived_us;  // the last section
    int64_t first_sent_us = 0;
    // From then on, until the checkpoint is complete.
    std::vector<Part> freezes;
  };

  Entry* find(BatchId batch);
  static void note_map(Entry& entry, Part part);
  static void make_steps(Entry& entry);
  void sum_up(const api::BatchProfile& profile);
  static api::BatchStep step_of(const std::string& name, const std::vector<Part>& parts);
  static const api::BatchStep* find_step(const Entry& entry, const std::string& name);

  std::deque<Entry> entries_;  // ascending by batch, without gap
  Latencies latencies_;
  std::map<std::string, int64_t> held_us_;
  int64_t newest_record_ms_ = 0;
};

}  // namespace millrace
