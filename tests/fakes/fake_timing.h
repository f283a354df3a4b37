// FakeTiming: how a fake that stands for a disk or a server takes its time and what a crash leaves of what was under
// way. Both come from the test (the simulator's random streams); without them all is immediate and lost.
#pragma once

#include <functional>

#include "common/base/time.h"

namespace millrace {

struct FakeTiming {
  std::function<Duration()> latency;      // of one operation
  std::function<bool()> operation_lands;  // at a crash: was it carried out, although nobody heard of it?

  [[nodiscard]] Duration take() const { return latency ? latency() : Duration::zero(); }
  [[nodiscard]] bool lands() const { return operation_lands && operation_lands(); }
};

}  // namespace millrace
