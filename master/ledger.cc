#include "master/ledger.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/model/source_topics.h"

namespace millrace {

Ledger::Ledger(wire::BatchTotals base) : first_(base.batch + 1), newest_durable_(base.batch), totals_(std::move(base)) {
  history_[BatchId(totals_.batch)] = totals_;
}

Ledger::Batch& Ledger::add(wire::BatchRecord record, bool durable) {
  CHECK_EQ(record.batch, newest().value() + 1);
  Batch batch;
  for (const wire::PlannedRange& range : record.ranges) {
    Range entry;
    entry.facts = {LogPartition(range.partition),
                   {Offset(range.from_offset), Offset(range.to_offset)},
                   range.records,
                   process_of(range.mapper),
                   false};
    batch.ranges.push_back(std::move(entry));
  }
  batch.record = std::move(record);
  batches_.push_back(std::move(batch));
  if (durable) note_durable(newest());
  return batches_.back();
}

Ledger::Batch* Ledger::find(BatchId batch) {
  if (batch < first_ || batch > newest()) return nullptr;
  return &batches_[static_cast<size_t>(batch.value() - first_.value())];
}

void Ledger::note_durable(BatchId batch) {
  if (Batch* found = find(batch); found != nullptr) found->durable = true;
  for (const Batch* next = find(newest_durable_.next()); next != nullptr && next->durable;
       next = find(newest_durable_.next())) {
    newest_durable_ = newest_durable_.next();
  }
}

Result<bool> Ledger::note_result(BatchId batch, const wire::MapResult& result) {
  Batch* found = find(batch);
  if (found == nullptr) return false;
  const auto range = std::find_if(found->ranges.begin(), found->ranges.end(), [&](const Range& candidate) {
    return candidate.facts.partition.value() == result.partition;
  });
  const std::string place = "batch " + std::to_string(batch.value()) + ", " + text_of(LogPartition(result.partition)) +
                            ", offsets " + std::to_string(result.from_offset) + " to " +
                            std::to_string(result.to_offset);
  // A result of a plan that never became durable, told by a process that has not heard so yet.
  if (range == found->ranges.end() || range->facts.range.from.value() != result.from_offset ||
      range->facts.range.to.value() != result.to_offset) {
    return false;
  }
  const wire::BatchRecord& record = found->record;
  if (result.batch_ms != 0 && (result.batch_ms != record.time_ms || result.watermark_ms != record.watermark_ms)) {
    return false;
  }
  if (range->facts.records != result.records) {
    return fail(ErrorCode::kDataLost, place + ": " + std::to_string(range->facts.records) +
                                          " records were planned and " + std::to_string(result.records) +
                                          " were read; the log no longer holds what it held");
  }
  if (range->result.has_value()) {
    const wire::MapResult& known = *range->result;
    if (known.fingerprint != result.fingerprint || known.event_ms != result.event_ms || known.late != result.late) {
      return fail(ErrorCode::kCorrupt, place + ": a replay gave other results than the first run; the job's code or " +
                                           "the log's content is not deterministic");
    }
    return false;
  }
  range->result = result;
  range->facts.result_known = true;
  return true;
}

std::vector<wire::BatchTotals> Ledger::advance_totals() {
  std::vector<wire::BatchTotals> advanced;
  for (Batch* batch = find(BatchId(totals_.batch + 1)); batch != nullptr && batch->durable;
       batch = find(BatchId(totals_.batch + 1))) {
    const bool complete = std::all_of(batch->ranges.begin(), batch->ranges.end(),
                                      [](const Range& range) { return range.result.has_value(); });
    if (!complete) break;
    totals_.batch = batch->record.batch;
    totals_.watermark_ms = batch->record.watermark_ms;
    totals_.results.clear();
    for (Range& range : batch->ranges) {
      totals_.records += range.result->records;
      totals_.dead_letters += range.result->dead_letters;
      totals_.emitted += range.result->emitted;
      totals_.late += range.result->late;
      if (range.result->event_ms != 0) {
        int64_t& greatest_ms = totals_.event_ms[range.result->partition];
        greatest_ms = std::max(greatest_ms, range.result->event_ms);
      }
      range.result->letters.clear();
      range.result->__isset.times = false;
      totals_.results.push_back(*range.result);
    }
    history_[BatchId(totals_.batch)] = totals_;
    advanced.push_back(totals_);
  }
  return advanced;
}

const wire::BatchTotals* Ledger::totals_at(BatchId batch) const {
  const auto found = history_.find(batch);
  return found == history_.end() ? nullptr : &found->second;
}

void Ledger::forget_up_to(BatchId batch) {
  while (!batches_.empty() && first_ <= batch && first_.value() <= totals_.batch) {
    batches_.pop_front();
    first_ = first_.next();
  }
  history_.erase(history_.begin(), history_.lower_bound(std::min(batch, BatchId(totals_.batch))));
}

}  // namespace millrace
