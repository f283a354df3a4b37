// Two streams of pairs as one, whose values are of the one or of the other: what joins are made of.
#pragma once

#include <concepts>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "stream/codec.h"
#include "stream/window_aggregate.h"

namespace millrace {

template <typename T>
struct PairOf : std::false_type {};
template <typename K, typename V>
struct PairOf<std::pair<K, V>> : std::true_type {
  using Key = std::remove_cv_t<K>;
  using Value = V;
};

namespace internal {

// Says what is wrong with a stream of other values; false: as require_codec.
template <typename T>
consteval bool require_pairs() {
  static_assert(PairOf<T>::value,
                "millrace: what works by key takes a stream of pairs (key, value): map() its values to std::pair, or "
                "take key_by(), first");
  return PairOf<T>::value;
}

// One of the two is there.
template <typename V, typename W>
using Either = std::pair<std::optional<V>, std::optional<W>>;

// The types of a join of a stream of T and one of U.
template <typename T, typename U>
struct Joining {
  using Key = Owned<typename PairOf<T>::Key>;
  using Left = Owned<typename PairOf<T>::Value>;
  using Right = Owned<typename PairOf<U>::Value>;
  using Value = Either<Left, Right>;
};

// Says what cannot be joined; false: as require_codec.
template <typename T, typename U>
consteval bool require_join() {
  if constexpr (require_pairs<T>() && require_pairs<U>()) {
    using J = Joining<T, U>;
    constexpr bool kSameKeys = std::same_as<typename J::Key, Owned<typename PairOf<U>::Key>>;
    static_assert(kSameKeys,
                  "millrace: the two streams of a join have keys of different types; map() one of them to the type of "
                  "the other");
    if constexpr (kSameKeys)
      return require_key<typename J::Key>() && require_codec<typename J::Left>() && require_codec<typename J::Right>();
  }
  return false;
}

// As streams of pairs of one type.
template <typename T, typename U, typename Stream>
auto as_left(const Stream& stream) {
  using J = Joining<T, U>;
  return stream.map([](const T& pair) {
    return std::pair<typename J::Key, typename J::Value>(
        typename J::Key(pair.first),
        typename J::Value(std::optional<typename J::Left>(std::in_place, pair.second), std::nullopt));
  });
}
template <typename T, typename U, typename Stream>
auto as_right(const Stream& stream) {
  using J = Joining<T, U>;
  return stream.map([](const U& pair) {
    return std::pair<typename J::Key, typename J::Value>(
        typename J::Key(pair.first),
        typename J::Value(std::nullopt, std::optional<typename J::Right>(std::in_place, pair.second)));
  });
}

// The values of a window by their sides, each in order. A key that lacks a side that it needs is not shown.
template <typename V, typename W>
struct CogroupWindow {
  using Value = Either<V, W>;
  using Pane = std::pair<std::vector<V>, std::vector<W>>;
  using View = Pane;
  using Panes = std::span<const internal::Pane<Pane>>;
  using Aggregate = NoAggregate;
  static constexpr bool kZero = false;
  bool needs_left = false;
  bool needs_right = false;

  static void begin(Pane& into, Value& first) {
    into = {};
    add(into, first);
  }
  static void add(Pane& into, Value& value) {
    if (value.first) into.first.push_back(*std::move(value.first));
    if (value.second) into.second.push_back(*std::move(value.second));
  }
  static void enter(NoAggregate&, Panes) {}
  static void leave(NoAggregate&, Panes) {}
  bool show(const NoAggregate&, Panes panes, View& view) const {
    view.first.clear();
    view.second.clear();
    for (const auto& pane : panes) {
      view.first.insert(view.first.end(), pane.value.first.begin(), pane.value.first.end());
      view.second.insert(view.second.end(), pane.value.second.begin(), pane.value.second.end());
    }
    return !(needs_left && view.first.empty()) && !(needs_right && view.second.empty());
  }
};

// Each value of the left with each of the right, by the left; where a side `may` miss, what has no partner too.
template <typename V, typename W, bool kLeftMayMiss, bool kRightMayMiss>
struct AllPairs {
  using Left = std::conditional_t<kLeftMayMiss, std::optional<V>, V>;
  using Right = std::conditional_t<kRightMayMiss, std::optional<W>, W>;

  std::vector<std::pair<Left, Right>> operator()(const std::pair<std::vector<V>, std::vector<W>>& values) const {
    std::vector<std::pair<Left, Right>> pairs;
    for (const V& left : values.first) {
      for (const W& right : values.second) pairs.emplace_back(left, right);
      if constexpr (kRightMayMiss) {
        if (values.second.empty()) pairs.emplace_back(left, std::nullopt);
      }
    }
    if constexpr (kLeftMayMiss) {
      if (values.first.empty()) {
        for (const W& right : values.second) pairs.emplace_back(std::nullopt, right);
      }
    }
    return pairs;
  }
};

}  // namespace internal
}  // namespace millrace
