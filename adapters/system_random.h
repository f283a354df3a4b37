// SystemRandom: numbers that no other process draws too, so that process and job ids are unique in the cluster.
#pragma once

#include <random>

#include "common/seams/random.h"

namespace millrace {

// Lives on one loop.
class SystemRandom final : public Random {
 public:
  uint64_t next() override;

 private:
  std::random_device device_;
};

}  // namespace millrace
