#include "adapters/system_random.h"

namespace millrace {

uint64_t SystemRandom::next() {
  const uint64_t high = device_();
  return high << 32 | device_();
}

}  // namespace millrace
