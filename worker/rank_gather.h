// RankGather: merges rank candidates of one batch until all state partitions of interest are covered: of a lane, of
// an executor, or of the job; of one table. Entries are values as of the batch, so the same key twice has the same
// value and overlapping partitions do no harm. Pure.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "worker/lane_messages.h"

namespace millrace {

// The n highest by (score descending, key ascending as bytes), each key once.
std::vector<SinkEntry> highest_entries(std::vector<SinkEntry> entries, size_t n);

class RankGather {
 public:
  // Batches that never complete (owners changed in between) are forgotten when more than this many are open.
  static constexpr size_t kMaxOpen = 16;

  // Adds a share; once every partition of `required` is covered, returns the merged rank of the batch and forgets
  // it and all older ones.
  std::optional<RankShare> add(RankShare share, const std::set<StatePartition>& required, size_t n);
  // A score that n entries of the batch are known to have: what is below it need not be added. None: fewer are known.
  [[nodiscard]] std::optional<double> floor(BatchId batch) const;
  void forget_beyond(BatchId batch);

 private:
  struct Open {
    std::set<StatePartition> covered;
    std::vector<SinkEntry> entries;
    std::optional<double> floor;
  };
  static void trim(Open& open, size_t n);

  std::map<BatchId, Open> open_;
};

}  // namespace millrace
