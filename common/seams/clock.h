// Clock: the only source of time. Real: the system's. Fake: virtual time that a test moves.
#pragma once

#include "common/base/time.h"

namespace millrace {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual MonotonicTime now() const = 0;
  [[nodiscard]] virtual WallTime wall_now() const = 0;
};

}  // namespace millrace
