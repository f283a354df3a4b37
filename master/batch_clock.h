// BatchClock: when a job that needs time has its ticks, and what the time of a batch is.
//
// Ticks come at the multiples of the batch interval, each has a later time than the one before, and a tick that could
// not be had in its time is made up for by one with the time of then: what lies between is a gap. A batch between two
// ticks has the time of the one to come. Time follows the monotonic clock: the wall clock is read once, when a master
// begins, and never taken for less than what is recorded, so that no jump of it ends a window early or twice.
//
// Plain data of the master's loop.
#pragma once

#include <cstdint>

#include "common/base/time.h"

namespace millrace {

class BatchClock {
 public:
  // The newest batch time and the newest tick that are recorded, in Unix milliseconds; 0: none.
  struct Recorded {
    int64_t time_ms = 0;
    int64_t tick_ms = 0;
  };
  // `interval`: whole milliseconds.
  BatchClock(Duration interval, Recorded recorded, WallTime wall, MonotonicTime now);

  // The time of the batch that is cut now, which is a tick or not.
  int64_t take(bool tick, MonotonicTime now);
  [[nodiscard]] int64_t newest_tick_ms() const { return recorded_.tick_ms; }
  // Until the next tick that there has not been yet; never zero.
  [[nodiscard]] Duration until_tick(MonotonicTime now) const;

 private:
  [[nodiscard]] Duration since_1970(MonotonicTime now) const { return begin_ + (now - started_); }
  [[nodiscard]] int64_t after_newest_tick_ms() const {
    const int64_t interval_ms = to_ms(interval_);
    return (recorded_.tick_ms / interval_ms + 1) * interval_ms;
  }

  // Constant after construction.
  const Duration interval_;
  const Duration begin_;  // since 1970, at started_
  const MonotonicTime started_;

  Recorded recorded_;
};

}  // namespace millrace
