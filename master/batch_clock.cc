#include "master/batch_clock.h"

#include <algorithm>

#include "common/base/check.h"

namespace millrace {

using std::chrono::milliseconds;

BatchClock::BatchClock(Duration interval, Recorded recorded, WallTime wall, MonotonicTime now)
    : interval_(interval),
      begin_(milliseconds(std::max(wall.unix_ms, recorded.tick_ms))),
      started_(now),
      recorded_(recorded) {
  CHECK(interval > Duration::zero() && interval % milliseconds(1) == Duration::zero());
}

int64_t BatchClock::take(bool tick, MonotonicTime now) {
  const int64_t interval_ms = to_ms(interval_);
  const int64_t passed_ms = to_ms(since_1970(now)) / interval_ms * interval_ms;
  const int64_t time_ms = std::max(after_newest_tick_ms(), tick ? passed_ms : passed_ms + interval_ms);
  // A batch before this one may have been promised a later tick, where a timer goes off a little early.
  recorded_.time_ms = std::max(recorded_.time_ms, time_ms);
  if (tick) recorded_.tick_ms = recorded_.time_ms;
  return recorded_.time_ms;
}

Duration BatchClock::until_tick(MonotonicTime now) const {
  // A timer that went off a little early has given the tick that it was for.
  const Duration to_next = milliseconds(after_newest_tick_ms()) - since_1970(now);
  return to_next > Duration::zero() ? to_next : interval_ - since_1970(now) % interval_;
}

}  // namespace millrace
