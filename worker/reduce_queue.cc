#include "worker/reduce_queue.h"

#include "common/base/check.h"

namespace millrace {

ReduceQueue::Admission ReduceQueue::add(BatchId batch, LogPartition source, OffsetRange range, SharedBuffer section,
                                        const MapTimes& times) {
  if (batch <= taken_) return Admission::kAlreadyTaken;
  if (batch.value() - taken_.value() > kMaxBatchesAhead) return Admission::kTooFarAhead;
  const size_t size = section.size();
  const bool added = sections_.try_emplace({batch, source, range.from, range.to, times}, std::move(section)).second;
  if (!added) return Admission::kRepeated;
  bytes_ += size;
  return Admission::kHeld;
}

std::optional<std::vector<SharedBuffer>> ReduceQueue::take(const BatchPlan& plan) {
  CHECK(plan.batch == taken_.next()) << "plan of batch " << plan.batch << " after batch " << taken_;
  std::vector<SharedBuffer> sections;
  sections.reserve(plan.ranges.size());
  for (const BatchPlan::Range& range : plan.ranges) {
    const auto found = sections_.find({plan.batch, range.partition, range.range.from, range.range.to, plan.times});
    if (found == sections_.end()) return std::nullopt;
    if (!found->second.empty()) sections.push_back(found->second);
  }
  taken_ = plan.batch;
  while (!sections_.empty() && std::get<BatchId>(sections_.begin()->first) <= taken_) {
    bytes_ -= sections_.begin()->second.size();
    sections_.erase(sections_.begin());
  }
  return sections;
}

void ReduceQueue::forget_beyond(BatchId batch) {
  for (auto section = sections_.begin(); section != sections_.end();) {
    if (std::get<BatchId>(section->first) <= batch) {
      ++section;
      continue;
    }
    bytes_ -= section->second.size();
    section = sections_.erase(section);
  }
}

}  // namespace millrace
