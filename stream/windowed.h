// Windowed: a stream seen through windows of time (Stream::window()). Each of its tables shows what the newest window
// holds, and changes when the next one comes to its end. A key of which the window holds nothing is not there.
//
//   stream.window(1h, 1s).count_by_value().publish("recent")
//   left.window(1h, 1s).join(right.window(1h, 1s)).publish("pairs")
//
// From Spark Streaming: reduceByKeyAndWindow(f, inverse, length, slide) is window(length, slide).reduce_by_key(f,
// inverse); countByValueAndWindow, countByWindow, reduceByWindow and groupByKeyAndWindow likewise. What a DStream does
// with each batch alone, stream.each_batch() does.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "stream/codec.h"
#include "stream/cogroup.h"
#include "stream/pair_edge.h"
#include "stream/sums.h"
#include "stream/window_table.h"

namespace millrace {

template <typename T>
concept StateName = std::convertible_to<const T&, std::string>;

// `S`: a Stream<T>.
template <typename S, typename T>
class Windowed {
 public:
  // By Stream::window() and each_batch().
  Windowed(S stream, internal::WindowSize size) : stream_(std::move(stream)), size_(size) {}

  // Per key the window's values, merged as by Stream::reduce_by_key.
  template <typename F>
  auto reduce_by_key(F function, std::string name = "reduce_by_key") const {
    if constexpr (internal::require_pairs<T>()) {
      using V = Owned<typename PairOf<T>::Value>;
      using Merge = internal::MergeInto<V, F>;
      if constexpr (internal::check_reduce<V, F>()) {
        return table<V>(Merge{function}, internal::PlainWindow<V, Merge>{{Merge{function}}}, std::move(name));
      } else {
        return stream_.template no_table<V>();
      }
    }
  }
  // The same for a merge that can be undone: `inverse` takes the values that leave off again, V(V, V) or
  // void(V& into, const V& leaving), exactly. It spares little for values that are cheap to merge.
  template <typename F, typename Inverse>
    requires(!StateName<Inverse>)
  auto reduce_by_key(F function, Inverse inverse, std::string name = "reduce_by_key") const {
    if constexpr (internal::require_pairs<T>()) {
      using V = Owned<typename PairOf<T>::Value>;
      constexpr bool kFits = std::invocable<const Inverse&, V&, const V&>;
      static_assert(
          kFits, "millrace: the inverse of reduce_by_key() is a function V(V, V) or void(V& into, const V& leaving)");
      if constexpr (internal::check_reduce<V, F>() && kFits) {
        return inverted<V, false>(std::move(function), std::move(inverse), std::move(name));
      } else {
        return stream_.template no_table<V>();
      }
    }
  }

  // Per key the window's values: by batches, in each in the order of the log's partitions and their records. Each slide
  // costs as much as the keys that changed have values.
  auto group_by_key(std::string name = "group_by_key") const {
    if constexpr (internal::require_pairs<T>()) {
      using V = Owned<typename PairOf<T>::Value>;
      if constexpr (require_codec<V>()) {
        stream_.template close<V>();
        return behind(internal::GroupWindow<V>{}, std::move(name));
      } else {
        return stream_.template no_table<std::vector<V>>();
      }
    }
  }

  // Per key the window's values of this stream and those of the other one, each as of group_by_key(). Both windows must
  // be the same: of one length and slide.
  template <typename OtherS, typename OtherT>
  auto cogroup(const Windowed<OtherS, OtherT>& other, std::string name = "cogroup") const {
    return together(other, false, false, std::move(name));
  }
  // Per key each value of this stream with each of the other one, as a vector of pairs, by this stream's values; a key
  // that has values of one stream alone is not there. Mind keys of which both streams have many.
  template <typename OtherS, typename OtherT>
  auto join(const Windowed<OtherS, OtherT>& other, std::string name = "join") const {
    return pairs<false, false>(other, std::move(name));
  }
  // The same, and where the other stream has no value of the key each value of this one with std::nullopt.
  template <typename OtherS, typename OtherT>
  auto left_outer_join(const Windowed<OtherS, OtherT>& other, std::string name = "left_outer_join") const {
    return pairs<false, true>(other, std::move(name));
  }
  template <typename OtherS, typename OtherT>
  auto right_outer_join(const Windowed<OtherS, OtherT>& other, std::string name = "right_outer_join") const {
    return pairs<true, false>(other, std::move(name));
  }
  template <typename OtherS, typename OtherT>
  auto full_outer_join(const Windowed<OtherS, OtherT>& other, std::string name = "full_outer_join") const {
    return pairs<true, true>(other, std::move(name));
  }

  // How often each value came in the window.
  auto count_by_value(std::string name = "count_by_value") const {
    return of(stream_.with_one())
        .template inverted<int64_t, false>(internal::WrappingSum(), internal::WrappingDifference(), std::move(name));
  }
  // Each value of the window, once; what stands behind it is 1.
  auto distinct(std::string name = "distinct") const {
    return of(stream_.with_one())
        .template inverted<int64_t, false>(internal::FirstStays(), internal::FirstStays(), std::move(name));
  }
  // How many values came in the window, under the key "all"; from the first value on, 0 for an empty window.
  auto count(std::string name = "count") const {
    return of(stream_.under_one_key_as_one())
        .template inverted<int64_t, true>(internal::WrappingSum(), internal::WrappingDifference(), std::move(name));
  }
  // The window's values, merged, under the key "all".
  template <typename F>
  auto reduce(F function, std::string name = "reduce") const {
    return of(stream_.under_one_key()).reduce_by_key(std::move(function), std::move(name));
  }
  template <typename F, typename Inverse>
    requires(!StateName<Inverse>)
  auto reduce(F function, Inverse inverse, std::string name = "reduce") const {
    return of(stream_.under_one_key()).reduce_by_key(std::move(function), std::move(inverse), std::move(name));
  }

 private:
  template <typename, typename>
  friend class Windowed;

  template <typename Other>
  auto of(Other stream) const {
    return Windowed<Other, typename Other::Value>(std::move(stream), size_);
  }

  template <typename V, bool kZero, typename F, typename Inverse>
  auto inverted(F function, Inverse inverse, std::string name) const {
    using Merge = internal::MergeInto<V, F>;
    using Undo = internal::MergeInto<V, Inverse>;
    const Merge merge{std::move(function)};
    return table<V>(merge, internal::InverseWindow<V, Merge, Undo, kZero>{{merge}, Undo{std::move(inverse)}},
                    std::move(name));
  }

  template <typename V, typename Merge, typename Kind>
  auto table(const Merge& merge, Kind kind, std::string name) const {
    stream_.template close<V>(merge);
    return behind(std::move(kind), std::move(name));
  }

  template <typename OtherS, typename OtherT>
  auto together(const Windowed<OtherS, OtherT>& other, bool needs_left, bool needs_right, std::string name) const {
    if constexpr (internal::require_join<T, OtherT>()) {
      using J = internal::Joining<T, OtherT>;
      internal::check_same_window(size_, other.size_);
      const auto both =
          of(internal::as_left<T, OtherT>(stream_).union_with(internal::as_right<T, OtherT>(other.stream_)));
      both.stream_.template close<typename J::Value>();
      return both.behind(internal::CogroupWindow<typename J::Left, typename J::Right>{needs_left, needs_right},
                         std::move(name));
    }
  }
  template <bool kLeftMayMiss, bool kRightMayMiss, typename OtherS, typename OtherT>
  auto pairs(const Windowed<OtherS, OtherT>& other, std::string name) const {
    if constexpr (internal::require_join<T, OtherT>()) {
      using J = internal::Joining<T, OtherT>;
      return together(other, !kLeftMayMiss, !kRightMayMiss, std::move(name))
          .map_values(internal::AllPairs<typename J::Left, typename J::Right, kLeftMayMiss, kRightMayMiss>());
    }
  }

  template <typename Kind>
  auto behind(Kind kind, std::string name) const {
    return stream_.template state<typename Kind::View>(
        name, "window", internal::what_of(size_), [kind = std::move(kind), size = size_](size_t rank_size) {
          return internal::make_state<internal::WindowTable<Kind>>(rank_size, size, kind);
        });
  }

  S stream_;
  internal::WindowSize size_;
};

}  // namespace millrace
