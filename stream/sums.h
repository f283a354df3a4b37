// Ways to merge values and counts.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "stream/codec.h"

namespace millrace {

// Adds counts. At the largest int64 it stays there, which keeps it commutative and associative.
struct SaturatingSum {
  // Adds `from` to `into`.
  void operator()(int64_t& into, const int64_t& from) const {
    if (__builtin_add_overflow(into, from, &into)) [[unlikely]]
      into = std::numeric_limits<int64_t>::max();
  }
};

namespace internal {

// A function in the form that changes its first argument: void(V&, const From&) as it is, V(V, From) adapted.
template <typename V, typename F, typename From = V>
struct MergeInto {
  [[no_unique_address]] F function;

  void operator()(V& into, const From& from) const {
    if constexpr (requires {
                    { function(into, from) } -> std::same_as<void>;
                  }) {
      function(into, from);
    } else {
      into = function(std::as_const(into), from);
    }
  }
};

// What a function that reduces values to one has to be.
template <typename V, typename F>
consteval void check_reduce() {
  require_codec<V>();
  static_assert(
      std::invocable<const F&, V&, const V&>,
      "millrace: reduce_by_key() needs a function V(V, V) or void(V& into, const V& from) that changes nothing "
      "of its own");
  static_assert(!std::is_floating_point_v<V>,
                "millrace: sums of floating-point numbers depend on their order; sum integers, e.g. cents for euros");
}

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
