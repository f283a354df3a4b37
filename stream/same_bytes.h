// Whether two values are the same byte by byte, as they are stored: what a type calls equal may differ. Used by one
// thread; keeps its buffers.
#pragma once

#include <string>
#include <type_traits>

#include "stream/codec.h"

namespace millrace::internal {

template <typename T>
class SameBytes {
 public:
  bool operator()(const T& a, const T& b) {
    if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      return a == b;
    } else {
      bytes_a_.resize(Codec<T>::size(a));
      bytes_b_.resize(Codec<T>::size(b));
      if (bytes_a_.size() != bytes_b_.size()) return false;
      Codec<T>::encode(bytes_a_.data(), a);
      Codec<T>::encode(bytes_b_.data(), b);
      return bytes_a_ == bytes_b_;
    }
  }

 private:
  std::string bytes_a_, bytes_b_;
};

}  // namespace millrace::internal
