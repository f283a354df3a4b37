// Ledger: the batches of one job that may still be replayed, that is, those after its oldest useful checkpoint,
// with what is known of each: the record, whether it is durable, who maps it, and what the maps found.
//
// Totals advance over batches without gap, so that the counters of a batch are as exact as its state.
// Plain data of the master's loop.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "master/cutter.h"
#include "master/recovery.h"
#include "wire_types.h"

namespace millrace {

class Ledger {
 public:
  struct Range {
    RangeFacts facts;
    std::optional<wire::MapResult> result;
  };
  struct Batch {
    wire::BatchRecord record;
    std::vector<Range> ranges;  // ascending by log partition
    bool durable = false;
    bool publish = false;
    bool checkpoint = false;
    bool rank = false;
  };

  // Begins after `base`: the totals' batch.
  explicit Ledger(wire::BatchTotals base);

  // The batch after the newest.
  Batch& add(wire::BatchRecord record, bool durable);
  [[nodiscard]] Batch* find(BatchId batch);
  // The oldest that it holds, or, where it is empty, the next.
  [[nodiscard]] BatchId first() const { return first_; }
  [[nodiscard]] BatchId newest() const { return BatchId(first_.value() + static_cast<int64_t>(batches_.size()) - 1); }
  // It is durable.
  void note_durable(BatchId batch);
  // Up to here all are.
  [[nodiscard]] BatchId newest_durable() const { return newest_durable_; }
  [[nodiscard]] const std::deque<Batch>& batches() const { return batches_; }

  // Notes what a map found; true: it is the first result of its range. An error: the replay of a range gave something
  // else than its first map, or a count that differs from the plan's; the job must stop. Results of batches that are
  // gone are ignored.
  Result<bool> note_result(BatchId batch, const wire::MapResult& result);
  // Sums the results of the next batches that have all of theirs; the new totals, one per batch, oldest first.
  std::vector<wire::BatchTotals> advance_totals();
  [[nodiscard]] const wire::BatchTotals& totals() const { return totals_; }
  // The totals as of a batch not older than the ledger's begin and not newer than totals().batch.
  [[nodiscard]] const wire::BatchTotals* totals_at(BatchId batch) const;

  // Batches up to here are not needed any more. Those stay that totals() has not come to.
  void forget_up_to(BatchId batch);

 private:
  BatchId first_;  // of batches_.front()
  BatchId newest_durable_;
  std::deque<Batch> batches_;
  wire::BatchTotals totals_;
  std::map<BatchId, wire::BatchTotals> history_;
};

}  // namespace millrace
