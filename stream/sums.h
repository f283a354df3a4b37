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

// What values that a function reduces to one, and the function, have to be; false: as require_codec.
template <typename V, typename F>
consteval bool check_reduce() {
  constexpr bool kFits = std::invocable<const F&, V&, const V&>;
  static_assert(
      kFits,
      "millrace: reduce_by_key() needs a function V(V, V) or void(V& into, const V& from) that changes nothing "
      "of its own");
  static_assert(!std::is_floating_point_v<V>,
                "millrace: sums of floating-point numbers depend on their order; sum integers, e.g. cents for euros");
  return require_codec<V>() && kFits;
}

// The same of combine_by_key.
template <typename V, typename S, typename Create, typename Add>
consteval bool check_combine() {
  constexpr bool kCreates = std::is_invocable_r_v<S, const Create&, const V&>;
  static_assert(kCreates, "millrace: combine_by_key<S>() needs a function S(V) that changes nothing of its own");
  constexpr bool kAdds = std::invocable<const Add&, S&, const V&>;
  static_assert(kAdds,
                "millrace: combine_by_key<S>() needs a function S(S, V) or void(S& into, const V&) that changes "
                "nothing of its own");
  return require_codec<V>() && require_codec<S>() && kCreates && kAdds;
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
