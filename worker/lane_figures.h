// LaneFigures: what a lane holds and how long it was at work, for metrics. Written by the lane's thread after each step
// of work, read by any.
#pragma once

#include <atomic>
#include <cstdint>

namespace millrace {

struct LaneFigures {
  std::atomic<int64_t> busy_us = 0;  // since it began
  std::atomic<int64_t> read_ahead_bytes = 0;
  std::atomic<int64_t> kept_bytes = 0;  // of blocks
};

}  // namespace millrace
