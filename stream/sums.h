// Ways to merge counts.
#pragma once

#include <cstdint>
#include <limits>

namespace millrace {

// Adds counts. At the largest int64 it stays there, which keeps it commutative and associative.
struct SaturatingSum {
  void operator()(int64_t& into, const int64_t& from) const {
    if (__builtin_add_overflow(into, from, &into)) [[unlikely]]
      into = std::numeric_limits<int64_t>::max();
  }
};

namespace internal {

// Counts that can be taken off again.
struct WrappingSum {
  void operator()(int64_t& into, const int64_t& from) const {
    into = static_cast<int64_t>(static_cast<uint64_t>(into) + static_cast<uint64_t>(from));
  }
};
struct WrappingDifference {
  void operator()(int64_t& into, const int64_t& from) const {
    into = static_cast<int64_t>(static_cast<uint64_t>(into) - static_cast<uint64_t>(from));
  }
};
struct FirstStays {
  void operator()(int64_t&, const int64_t&) const {}
};

}  // namespace internal
}  // namespace millrace
