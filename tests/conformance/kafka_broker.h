// The real Kafka of the tests that carry the label kafka.
#pragma once

#include <cstdlib>
#include <string>

#include "common/base/check.h"

namespace millrace {

inline std::string brokers() {
  const char* const address = std::getenv("MILLRACE_KAFKA");
  CHECK(address != nullptr) << "set MILLRACE_KAFKA=HOST:PORT (see scripts/kafka), or leave these out: ctest -LE kafka";
  return address;
}

}  // namespace millrace
