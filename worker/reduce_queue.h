// ReduceQueue: the blocks of one state partition that wait until they tile the plan of the next batch. Pure.
//
// A section is named by (batch, log partition, from, to, times). What it holds depends on that name alone, so repeats
// are dropped and a section of another range or of other times than the plan's is dropped with its batch. Batches are
// taken in order.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "worker/lane_messages.h"

namespace millrace {

class ReduceQueue {
 public:
  // Farther ahead nothing is held. A partition that begins at an old checkpoint may be that far behind; what it needs
  // is sent again in a window of a few batches.
  static constexpr int64_t kMaxBatchesAhead = 4096;

  enum class Admission { kHeld, kRepeated, kAlreadyTaken, kTooFarAhead };

  explicit ReduceQueue(BatchId taken) : taken_(taken) {}

  // An empty section says: the range has no pair for this partition.
  Admission add(BatchId batch, LogPartition source, OffsetRange range, SharedBuffer section,
                const MapTimes& times = {});

  // The sections of the next batch in the order of the plan, without the empty ones, if all are here; they leave
  // the queue and `taken` moves on. `plan` must be the one of the next batch.
  std::optional<std::vector<SharedBuffer>> take(const BatchPlan& plan);

  void forget_beyond(BatchId batch);

  [[nodiscard]] BatchId taken() const { return taken_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }
  [[nodiscard]] size_t size() const { return sections_.size(); }

 private:
  using Name = std::tuple<BatchId, LogPartition, Offset, Offset, MapTimes>;

  BatchId taken_;
  std::map<Name, SharedBuffer> sections_;
  size_t bytes_ = 0;
};

}  // namespace millrace
