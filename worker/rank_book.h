// RankBook: what the owner of a job's ranks knows of one of them: candidates of batches that are not complete yet, the
// newest complete rank, and the rank of the open publication round, which waits here for its end. Pure.
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "worker/rank_gather.h"

namespace millrace {

class RankBook {
 public:
  RankBook() = default;
  RankBook(int64_t size, int32_t state_partitions);

  // True if a newer rank is complete than before.
  bool add(RankShare share);
  // The batch of a publication round: its rank is kept beside the newest one.
  void expect_round(BatchId batch) { round_ = batch; }
  void forget_beyond(BatchId batch);

  // nullptr: none yet.
  [[nodiscard]] const RankShare* newest() const { return newest_ ? &*newest_ : nullptr; }
  // The rank of exactly this batch, or nullptr.
  [[nodiscard]] const RankShare* of(BatchId batch) const;

 private:
  size_t size_ = 0;
  std::set<StatePartition> all_;
  RankGather gather_;
  BatchId round_;
  std::optional<RankShare> newest_;
  std::optional<RankShare> of_round_;
};

}  // namespace millrace
