// LevelInbox: the level blocks that the state partitions of one lane wait for: a level of a batch is complete when the
// blocks of all state partitions of the job are here. Pure.
//
// All state partitions have one generation, so a block is for every partition of the lane, and what it does not list
// gets nothing. Nobody is more than one batch ahead of the slowest, so blocks of two batches are held at most.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/model/shuffle_block.h"

namespace millrace {

class LevelInbox {
 public:
  static constexpr int64_t kMostBatchesAhead = 2;  // of what every partition of the lane has applied

  enum class Admission { kHeld, kRepeated, kOutdated, kUnexpected };

  // Of a job with this many levels.
  LevelInbox(int32_t levels, int32_t state_partitions)
      : levels_(levels), sources_(static_cast<size_t>(state_partitions)) {}

  // The lane's partitions are of this generation and begin anew after `applied`: what is here was for those of before.
  void restart(Generation generation, BatchId applied);

  // kOutdated: of an older generation, or of a batch that is applied. kUnexpected: the protocol has no such block.
  Admission add(std::shared_ptr<const LevelBlock> block);

  // What came out of this level of the batch for `partition`, in the order of the sources; none: some source lacks.
  [[nodiscard]] std::optional<std::vector<SharedBuffer>> sections_for(BatchId batch, int32_t level,
                                                                      StatePartition partition) const;

  // Every partition of the lane has applied the batch.
  void forget_through(BatchId applied);
  void forget_beyond(BatchId batch);

  [[nodiscard]] Generation generation() const { return generation_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }  // that are kept alive

 private:
  struct Arrived {
    std::vector<std::shared_ptr<const LevelBlock>> by_source;
    size_t count = 0;
  };

  using ByLevel = std::map<std::pair<BatchId, int32_t>, Arrived>;  // of a batch
  ByLevel::iterator erase(ByLevel::iterator arrived);

  const int32_t levels_;
  const size_t sources_;
  Generation generation_;
  BatchId applied_;
  ByLevel arrived_;
  size_t bytes_ = 0;
};

}  // namespace millrace
