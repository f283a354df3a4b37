// Thrift's clients write their errors to standard error by themselves, besides throwing them.
#pragma once

#include <thrift/Thrift.h>

namespace millrace {

// Once for the process, since the function that is set is not for several threads; by whoever makes a client.
inline void quiet_thrift() {
  [[maybe_unused]] static const bool kQuiet = [] {
    apache::thrift::GlobalOutput.setOutputFunction([](const char*) {});
    return true;
  }();
}

}  // namespace millrace
