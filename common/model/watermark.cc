#include "common/model/watermark.h"

#include <algorithm>

namespace millrace {

Watermark::Watermark(EventTimePlan plan, int64_t batch_interval_ms, int64_t recorded_ms)
    : plan_(plan),
      most_counted_ms_(std::max(plan.idle_ms / kLeastBatches, batch_interval_ms)),
      watermark_ms_(recorded_ms) {}

void Watermark::tell(LogPartition partition, int64_t event_ms) {
  Source& source = sources_[partition];
  if (event_ms == 0) return;
  source.event_ms = std::max(source.event_ms, event_ms);
  source.quiet_ms = 0;
}

int64_t Watermark::take(int64_t time_ms, const Seen& seen) {
  const int64_t passed_ms = time_ms_ == 0 || seen.blind ? 0 : std::min(time_ms - time_ms_, most_counted_ms_);
  time_ms_ = time_ms;
  holder_.reset();
  int64_t least_ms = 0;  // of those that are not idle
  for (auto& [partition, source] : sources_) {
    source.quiet_ms += passed_ms;
    const bool quiet = plan_.idle_ms != 0 && source.quiet_ms >= plan_.idle_ms;
    const bool empty = source.event_ms == 0 && seen.never_written.contains(partition);
    if (!seen.unread.contains(partition) && (quiet || empty)) continue;
    if (holder_ && least_ms <= source.event_ms) continue;
    holder_ = partition;
    least_ms = source.event_ms;
  }
  if (holder_) watermark_ms_ = std::max(watermark_ms_, least_ms - plan_.delay_ms);
  return watermark_ms_;
}

}  // namespace millrace
