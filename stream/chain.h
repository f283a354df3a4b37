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
#include <exception>
#include <expected>
#include <functional>
#include <new>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>

#include "stream/record.h"

namespace millrace::internal {

// One record on its way through a chain; the next one once its problem is taken.
class RecordScope {
 public:
  void refuse(std::string reason) {
    if (!problem_) problem_ = std::move(reason);
  }
  [[nodiscard]] bool refused() const { return problem_.has_value(); }
  [[nodiscard]] std::string take_problem() { return *std::exchange(problem_, std::nullopt); }

 private:
  RecordProblem problem_;
};

// Runs a piece of a chain for one record; what a user's function throws refuses the record. A lack of memory is no
// record's fault.
template <typename Function>
void run_guarded(RecordScope& scope, Function&& function) {
  try {
    function();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& problem) {
    scope.refuse(problem.what());
  } catch (...) {
    scope.refuse("the job's function threw something that is no std::exception");
  }
}

template <typename In>
struct BeginStage {
  static constexpr bool kMany = false;     // may give several results for a value
  static constexpr bool kRefuses = false;  // has a function that may refuse the record, but for exceptions
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
  using Returned = Unexpected<std::decay_t<std::invoke_result_t<F&, T>>>;
  using Output = typename Returned::type;
  static constexpr bool kMany = Previous::kMany;
  static constexpr bool kRefuses = Previous::kRefuses || Returned::kRefuses;
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
  static constexpr bool kMany = Previous::kMany;
  static constexpr bool kRefuses = Previous::kRefuses;
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

// ... and promises to return its RecordProblem before it emits anything: `static constexpr bool kRefusesFirst = true`.
template <typename F>
concept RefusesFirst = requires { requires F::kRefusesFirst; };

template <typename Output, bool kNoexcept>
struct AnySink {
  void operator()(Output) const noexcept(kNoexcept) {}
};

template <typename F, typename T>
concept GivesRange = std::invocable<F&, T> && std::ranges::input_range<std::invoke_result_t<F&, T>>;

// Says what is wrong with a function for flat_map; false: a stage of it must not be made.
template <typename T, typename F>
consteval bool require_flat_map() {
  if constexpr (NamesOutput<F>) {
    constexpr bool kFits = std::invocable<F&, T, AnySink<typename F::Output, true>&>;
    static_assert(kFits, "millrace: flat_map() with a named Output needs a function of (value, emit)");
    return kFits;
  } else {
    static_assert(GivesRange<F, T>,
                  "millrace: flat_map() needs a function of the stream's values to a range of results, or one of "
                  "(value, emit) that names its Output; see millrace::emitting<Output>(function)");
    return GivesRange<F, T>;
  }
}

// What is emitted is of the named type, whatever it was made from.
template <typename Output, typename Sink>
struct OutputSink {
  Sink& sink;

  template <typename T>
  [[gnu::always_inline]] void operator()(T&& value) const {
    if constexpr (std::same_as<std::remove_cvref_t<T>, Output>) {
      sink(std::forward<T>(value));
    } else {
      sink(Output(std::forward<T>(value)));
    }
  }
};

template <typename Previous, typename T, typename F>
struct FlatMapStage;

template <typename Previous, typename T, NamesOutput F>
struct FlatMapStage<Previous, T, F> {
  using Output = typename F::Output;
  using Probe = AnySink<Output, true>;
  using ThrowingProbe = AnySink<Output, false>;
  static_assert(!std::is_nothrow_invocable_v<F&, T, ThrowingProbe&>,
                "millrace: what follows a function may throw through its emit(): say "
                "noexcept(std::is_nothrow_invocable_v<Emit&, Output>), not noexcept");
  using Returned = std::invoke_result_t<F&, T, Probe&>;
  static constexpr bool kGivesProblem = std::same_as<Returned, RecordProblem>;
  static_assert(
      kGivesProblem || std::is_void_v<Returned>,
      "millrace: a function of (value, emit) returns nothing, or a millrace::RecordProblem to refuse records");
  static constexpr bool kMany = true;
  static constexpr bool kRefuses = Previous::kRefuses || kGivesProblem;
  static constexpr bool kDirect = Previous::kDirect && std::is_nothrow_invocable_v<F&, T, Probe&> &&
                                  (!kGivesProblem || (RefusesFirst<F> && !Previous::kMany));

  Previous previous;
  F function;

  template <typename In, typename Sink>
  [[gnu::always_inline]] void operator()(const In& value, RecordScope& scope, Sink&& sink) {
    OutputSink<Output, std::remove_reference_t<Sink>> emit{sink};
    previous(value, scope, [&](auto&& input) __attribute__((always_inline)) {
      if constexpr (kGivesProblem) {
        if (RecordProblem problem = function(std::forward<decltype(input)>(input), emit)) [[unlikely]] {
          scope.refuse(std::move(*problem));
        }
      } else {
        function(std::forward<decltype(input)>(input), emit);
      }
    });
  }
};

template <typename Previous, typename T, typename F>
  requires(!NamesOutput<F>)
struct FlatMapStage<Previous, T, F> {
  using Returned = std::invoke_result_t<F&, T>;
  using Output = std::ranges::range_value_t<Returned>;
  static constexpr bool kMany = true;
  static constexpr bool kRefuses = Previous::kRefuses;
  static constexpr bool kDirect = false;  // Walking a range may throw.

  Previous previous;
  F function;

  template <typename In, typename Sink>
  [[gnu::always_inline]] void operator()(const In& value, RecordScope& scope, Sink&& sink) {
    previous(value, scope, [&](auto&& input) __attribute__((always_inline)) {
      auto&& results = std::invoke(function, std::forward<decltype(input)>(input));
      OutputSink<Output, std::remove_reference_t<Sink>> emit{sink};
      for (auto&& result : results) emit(std::forward<decltype(result)>(result));
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
  auto operator()(T&& value, Emit& emit) noexcept(std::is_nothrow_invocable_v<F&, T, Emit&>) {
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
