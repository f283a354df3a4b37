// What a window shows of a key, made of the panes that it covers. A kind says what a pane is and how the panes of a key
// come and go:
//
//   Value, Pane, View                             of the edge's pairs, of a pane, of what is shown
//   Aggregate                                     what is kept per key
//   begin(Pane&, Value&), add(Pane&, Value&)      the first value of a pane, the others
//   enter(Aggregate&, panes)                      the last of `panes` has come into the window, the others were there
//   leave(Aggregate&, panes)                      the first of `panes` is about to go
//   bool show(Aggregate, panes, View&)            of at least one pane; false: the window shows nothing of the key
//   kZero                                         a key that had a value once is shown without one too, as View()
//
// Panes are given in the order of time.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace millrace::internal {

template <typename P>
struct Pane {
  int64_t end_ms;
  P value;
  bool changed = false;  // stands in the list of changes since the last freeze
  bool written = false;  // a checkpoint may hold it
};

template <typename V, typename Merge>
struct ReducePane {
  using Value = V;
  using Pane = V;
  using View = V;
  using Panes = std::span<const internal::Pane<V>>;
  [[no_unique_address]] Merge merge;

  void begin(V& into, V& first) const { into = std::move(first); }
  void add(V& into, const V& value) const { merge(into, value); }
};

// With an inverse the panes that leave are taken off again.
template <typename V, typename Merge, typename Inverse, bool kShowsZero>
struct InverseWindow : ReducePane<V, Merge> {
  static constexpr bool kZero = kShowsZero;
  using Panes = typename ReducePane<V, Merge>::Panes;
  using Aggregate = V;
  [[no_unique_address]] Inverse inverse;

  void enter(V& sum, Panes panes) const {
    if (panes.size() == 1) {
      sum = panes.back().value;
    } else {
      this->merge(sum, panes.back().value);
    }
  }
  void leave(V& sum, Panes panes) const {
    if (panes.size() > 1) inverse(sum, panes.front().value);
  }
  static bool show(const V& sum, Panes, V& view) {
    view = sum;
    return true;
  }
};

// Without one, two stacks: for the older panes what each and all after it make, for the younger ones what they make
// together. When the older ones are used up, the younger ones become the older ones: one merge a pane, all in all.
template <typename V, typename Merge>
struct StackWindow : ReducePane<V, Merge> {
  static constexpr bool kZero = false;
  using Panes = typename ReducePane<V, Merge>::Panes;
  struct Aggregate {
    std::vector<V> older;  // of the first panes, the very first last
    V younger{};           // of all others
  };

  void enter(Aggregate& sums, Panes panes) const {
    if (panes.size() == sums.older.size() + 1) {
      sums.younger = panes.back().value;
    } else {
      this->merge(sums.younger, panes.back().value);
    }
  }
  void leave(Aggregate& sums, Panes panes) const {
    if (sums.older.empty()) {
      for (size_t i = panes.size(); i != 0; --i) {
        V sum = panes[i - 1].value;
        if (!sums.older.empty()) this->merge(sum, sums.older.back());
        sums.older.push_back(sum);
      }
    }
    sums.older.pop_back();
  }
  bool show(const Aggregate& sums, Panes panes, V& view) const {
    if (sums.older.empty()) {
      view = sums.younger;
    } else {
      view = sums.older.back();
      if (panes.size() > sums.older.size()) this->merge(view, sums.younger);
    }
    return true;
  }
};

struct NoAggregate {};

// Values on the heap are merged anew: copies of them would cost more.
template <typename V, typename Merge>
struct FoldWindow : ReducePane<V, Merge> {
  static constexpr bool kZero = false;
  using Panes = typename ReducePane<V, Merge>::Panes;
  using Aggregate = NoAggregate;

  static void enter(NoAggregate&, Panes) {}
  static void leave(NoAggregate&, Panes) {}
  bool show(const NoAggregate&, Panes panes, V& view) const {
    view = panes.front().value;
    for (const auto& pane : panes.subspan(1)) this->merge(view, pane.value);
    return true;
  }
};

template <typename V, typename Merge>
using PlainWindow = std::conditional_t<std::is_trivially_copyable_v<V>, StackWindow<V, Merge>, FoldWindow<V, Merge>>;

// All values, in order.
template <typename V>
struct GroupWindow {
  using Value = V;
  using Pane = std::vector<V>;
  using View = std::vector<V>;
  using Panes = std::span<const internal::Pane<Pane>>;
  using Aggregate = NoAggregate;
  static constexpr bool kZero = false;

  static void begin(Pane& into, V& first) {
    into.clear();
    into.push_back(std::move(first));
  }
  static void add(Pane& into, V& value) { into.push_back(std::move(value)); }
  static void enter(NoAggregate&, Panes) {}
  static void leave(NoAggregate&, Panes) {}
  static bool show(const NoAggregate&, Panes panes, View& view) {
    view.clear();
    for (const auto& pane : panes) view.insert(view.end(), pane.value.begin(), pane.value.end());
    return true;
  }
};

}  // namespace millrace::internal
