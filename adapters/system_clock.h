// SystemClock: the machine's time.
#pragma once

#include "common/seams/clock.h"

namespace millrace {

// Thread-safe, without state.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] MonotonicTime now() const override;
  [[nodiscard]] WallTime wall_now() const override;
};

}  // namespace millrace
