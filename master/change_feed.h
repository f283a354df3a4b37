// ChangeFeed: what the newest publication rounds of a job changed, for readers that follow it. A reader is a position
// and a question that waits; nothing is kept for it beyond that. See "Changes" in ARCHITECTURE.md.
//
// Nothing is kept as long as nobody asks: wanted() says whether the next plan shall bring changes.
//
// Lives on the master's loop.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/runtime/lifetime.h"
#include "common/seams/clock.h"
#include "common/seams/task_loop.h"
#include "wire_types.h"

namespace millrace {

class ChangeFeed {
 public:
  struct Limits {
    Duration wanted_for = std::chrono::seconds(60);  // after the last question; and a round is kept as long
    size_t bytes = 64u << 20;                        // of all rounds that are kept; the oldest go first
    size_t answer_bytes = 4u << 20;                  // then an answer has no further round
    size_t readers = 1000;                           // that wait
  };

  struct Round {
    BatchId since;  // whoever has seen all up to here, or up to later, goes on by these changes
    BatchId batch;
    MonotonicTime ended;
    std::vector<std::string> parts;  // stored records: ChangedKeys; of a key that comes again the last one holds
    size_t bytes = 0;
  };
  struct Answer {
    bool reset = false;  // what lies between cannot be told: the reader begins anew at `position`
    BatchId position;    // to go on from
    std::vector<Round> rounds;
  };
  using Done = std::move_only_function<void(Result<Answer>)>;

  ChangeFeed(TaskLoop& loop, const Clock& clock, size_t partitions, Limits limits);

  [[nodiscard]] bool wanted() const;
  // There were readers, most likely, of a former master; they will ask again.
  void expect_readers() { asked_ = clock_.now(); }

  // The newest complete round is `published`; `open`: another one is open, whose plan may say nothing of changes.
  // `position` none: the reader has none yet. Answers at once where there is something to tell, else with the next
  // complete round, or after `wait` with the position as it was and nothing else. kUnavailable: too many wait.
  void follow(std::optional<BatchId> position, BatchId published, bool open, Duration wait, Done done);

  // What there is behind `position` now, without a question; none: nothing.
  [[nodiscard]] std::optional<Answer> tell(std::optional<BatchId> position) const;

  // From the present owner of a state partition.
  void add(BatchId round, wire::ChangedPartition part);
  void round_complete(BatchId round);

  // The job is at rest: answers everybody who waits. What is kept can be told for a while.
  void fail_all(const Error& error);

 private:
  struct Reader {
    std::optional<BatchId> position;
    TaskLoop::TimerId timer = 0;
    Done done;
  };
  // Changes in (since, to] of a partition.
  struct Part {
    BatchId since;
    BatchId to;
    std::string keys;
  };

  [[nodiscard]] BatchId covered_since(BatchId round) const;
  void forget_parts();
  void forget_rounds();
  void drop_old_rounds();
  void end(uint64_t id, Result<Answer> result);

  // Constant after construction.
  TaskLoop& loop_;      // outlives this
  const Clock& clock_;  // outlives this
  const size_t partitions_;
  const Limits limits_;

  std::optional<MonotonicTime> asked_;
  std::optional<BatchId> newest_;              // complete round; what comes after it is told, as long as somebody asks
  std::deque<Round> rounds_;                   // ascending, up to newest_
  size_t bytes_ = 0;                           // of them
  std::map<int32_t, std::deque<Part>> parts_;  // by partition, since newest_, in the order of their arrival
  size_t parts_bytes_ = 0;
  std::map<uint64_t, Reader> readers_;
  uint64_t last_reader_ = 0;
  Lifetime lifetime_;
};

}  // namespace millrace
