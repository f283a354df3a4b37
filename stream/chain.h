// Chain: what a stream's operators do to one value of its origin, as one type, so that map, filter and flat_map cost
// one loop and no call.
//
//   chain(value, scope, sink)    calls sink(result) for each result, any number of times
//
// A function may refuse the record that the value comes from: by its result (std::expected from map, RecordProblem from
// flat_map) or by an exception. Nothing of a refused record counts, so a sink must be able to take back what it was
// given, unless the chain is kDirect: then it throws nothing and refuses before it emits anything.
#pragma once

#include <concepts>
#include <expected>
#include <functional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>

#include "stream/record.h"

namespace millrace::internal {

// One record on its way through a chain.
class RecordScope {
 public:
  void refuse(std::string reason) {
    if (!problem_) problem_ = std::move(reason);
  }
  [[nodiscard]] bool refused() const { return problem_.has_value(); }
  [[nodiscard]] std::string take_problem() { return std::move(*problem_); }

 private:
  RecordProblem problem_;
};

template <typename In>
struct BeginStage {
  static constexpr bool kMany = false;  // may give several results for a value
  static constexpr bool kDirect = true;

  template <typename Sink>
  [[gnu::always_inline]] void operator()(const In& value, RecordScope&, Sink&& sink) {
    sink(value);
  }
};

template <typename T>
struct Unexpected {
  using type = T;
  static constexpr bool kRefuses = false;
};
template <typename T, typename E>
struct Unexpected<std::expected<T, E>> {
  static_assert(std::is_convertible_v<E, std::string>,
                "millrace: a function that refuses records returns std::expected<T, std::string>");
  using type = T;
  static constexpr bool kRefuses = true;
};

template <typename Previous, typename T, typename F>
struct MapStage {
  static_assert(std::invocable<F&, T>, "millrace: map() needs a function of the stream's values");
  using Returned = Unexpected<std::decay_t<std::invoke_result_t<F&, T>>>;
  using Output = typename Returned::type;
  static constexpr bool kMany = Previous::kMany;
  static constexpr bool kDirect =
      Previous::kDirect && std::is_nothrow_invocable_v<F&, T> && !(Returned::kRefuses && kMany);

  Previous previous;
  F function;

  template <typename In, typename Sink>
  [[gnu::always_inline]] void operator()(const In& value, RecordScope& scope, Sink&& sink) {
    previous(value, scope, [&](auto&& input) __attribute__((always_inline)) {
      if constexpr (Returned::kRefuses) {
        auto output = std::invoke(function, std::forward<decltype(input)>(input));
        if (output) [[likely]] {
          sink(*std::move(output));
        } else {
          scope.refuse(std::move(output.error()));
        }
      } else {
        sink(std::invoke(function, std::forward<decltype(input)>(input)));
      }
    });
  }
};

template <typename Previous, typename T, typename F>
struct FilterStage {
  static_assert(std::predicate<F&, const T&>, "millrace: filter() needs a function of the stream's values to bool");
  static constexpr bool kMany = Previous::kMany;
  static constexpr bool kDirect = Previous::kDirect && std::is_nothrow_invocable_v<F&, const T&>;

  Previous previous;
  F function;

  template <typename In, typename Sink>
  [[gnu::always_inline]] void operator()(const In& value, RecordScope& scope, Sink&& sink) {
    previous(value, scope, [&](auto&& input) __attribute__((always_inline)) {
      if (std::invoke(function, std::as_const(input))) sink(std::forward<decltype(input)>(input));
    });
  }
};

// A function that names its Output and is given a sink for its results: void or RecordProblem(T, emit).
template <typename F>
concept NamesOutput = requires { typename F::Output; };

template <typename Output>
struct AnySink {
  void operator()(Output) const noexcept {}
};

template <typename Previous, typename T, typename F>
struct FlatMapStage;

template <typename Previous, typename T, NamesOutput F>
struct FlatMapStage<Previous, T, F> {
  using Output = typename F::Output;
  using Probe = AnySink<Output>;
  static_assert(std::invocable<F&, T, Probe&>,
                "millrace: flat_map() with a named Output needs a function of (value, emit)");
  static constexpr bool kRefuses = std::same_as<std::invoke_result_t<F&, T, Probe&>, RecordProblem>;
  static constexpr bool kMany = true;
  static constexpr bool kDirect =
      Previous::kDirect && std::is_nothrow_invocable_v<F&, T, Probe&> && !(kRefuses && Previous::kMany);

  Previous previous;
  F function;

  template <typename In, typename Sink>
  [[gnu::always_inline]] void operator()(const In& value, RecordScope& scope, Sink&& sink) {
    previous(value, scope, [&](auto&& input) __attribute__((always_inline)) {
      if constexpr (kRefuses) {
        if (RecordProblem problem = function(std::forward<decltype(input)>(input), sink)) [[unlikely]] {
          scope.refuse(std::move(*problem));
        }
      } else {
        function(std::forward<decltype(input)>(input), sink);
      }
    });
  }
};

template <typename Previous, typename T, typename F>
  requires(!NamesOutput<F>)
struct FlatMapStage<Previous, T, F> {
  using Returned = std::invoke_result_t<F&, T>;
  static_assert(std::ranges::input_range<Returned>,
                "millrace: flat_map() needs a function of the stream's values to a range of results, or one of "
                "(value, emit) that names its Output; see millrace::emitting<Output>(function)");
  using Output = std::ranges::range_value_t<Returned>;
  static constexpr bool kMany = true;
  static constexpr bool kDirect = false;  // Walking a range may throw.

  Previous previous;
  F function;

  template <typename In, typename Sink>
  [[gnu::always_inline]] void operator()(const In& value, RecordScope& scope, Sink&& sink) {
    previous(value, scope, [&](auto&& input) __attribute__((always_inline)) {
      auto&& results = std::invoke(function, std::forward<decltype(input)>(input));
      for (auto&& result : results) sink(std::forward<decltype(result)>(result));
    });
  }
};

}  // namespace millrace::internal

namespace millrace {

namespace internal {

template <typename Out, typename F>
struct Emitting {
  using Output = Out;
  F function;

  template <typename T, typename Emit>
  auto operator()(T&& value, Emit& emit) noexcept(std::is_nothrow_invocable_v<F&, T, AnySink<Out>&>) {
    return function(std::forward<T>(value), emit);
  }
};

}  // namespace internal

// Makes a function for flat_map of one of (value, emit) that does not name what it emits:
//   stream.flat_map(emitting<std::string>([](std::string_view line, auto& emit) { ... emit(part); ... }))
template <typename Out, typename F>
auto emitting(F function) {
  return internal::Emitting<Out, F>{std::move(function)};
}

}  // namespace millrace
