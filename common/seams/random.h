// Random: the only source of randomness of the roles (ids, jitter). Real: std::random_device. Fake: seeded.
#pragma once

#include <cstdint>

namespace millrace {

class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t next() = 0;  // uniform over all 64-bit values
  uint64_t next_id() {          // never 0
    uint64_t id = next();
    while (id == 0) id = next();
    return id;
  }
};

}  // namespace millrace
