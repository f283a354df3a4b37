// BlockStore: the blocks that a lane has mapped, kept until a checkpoint covers them, so that a replay need not map
// them again. Bounded in bytes; where the bound is reached the oldest batch goes first. Lives on the lane's loop.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <utility>

#include "worker/lane_messages.h"

namespace millrace {

class BlockStore {
 public:
  struct Kept {
    std::shared_ptr<const MapOutcome> outcome;
    std::shared_ptr<const ShuffleBlock> block;
  };

  explicit BlockStore(size_t max_bytes) : max_bytes_(max_bytes) {}

  // Replaces an older block of the same batch and log partition.
  void keep(Kept kept);
  // The block of exactly this range and these times, or nullptr.
  [[nodiscard]] const Kept* find(BatchId batch, LogPartition partition, OffsetRange range,
                                 const MapTimes& times = {}) const;
  void forget_through(BatchId batch);
  void forget_beyond(BatchId batch);

  [[nodiscard]] size_t bytes() const { return bytes_; }
  [[nodiscard]] size_t size() const { return blocks_.size(); }

 private:
  using Blocks = std::map<std::pair<BatchId, LogPartition>, Kept>;
  static size_t bytes_of(const Kept& kept);
  Blocks::iterator erase(Blocks::iterator block);

  const size_t max_bytes_;
  Blocks blocks_;
  size_t bytes_ = 0;
};

}  // namespace millrace
