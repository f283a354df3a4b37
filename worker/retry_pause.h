// How long to wait before something that failed is tried again: 50 ms, then twice as long each time, up to 2 s.
#pragma once

#include <algorithm>

#include "common/base/time.h"

namespace millrace {

// After a pause of `before`, which is none the first time.
inline Duration longer_pause(Duration before) {
  constexpr Duration kFirst = std::chrono::milliseconds(50);
  constexpr Duration kLongest = std::chrono::seconds(2);
  return std::clamp(before * 2, kFirst, kLongest);
}

}  // namespace millrace
