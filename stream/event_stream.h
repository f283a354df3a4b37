// EventStream: a stream whose values have a time of their own, and windows by it. Time goes on with the job's
// watermark, see common/model/watermark.h: what comes earlier than that is late.
//
//   job.records().event_time(from_record_timestamp(), {.delay = 5s})
//       .map(...).tumbling(1min).count_by_value().publish("counts")
//
//   EventStream<T>     map, filter, flat_map, key_by keep a value's time; tumbling, sliding, sessions look at it
//   EventWindows       of an EventStream: the aggregations of Windowed, and late()
//   EventTable<K, V>   a Table of windows, which shows each as it changes and for a while when it is final; closed()
//                      gives each once, when it is final
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "stream/chain.h"
#include "stream/codec.h"
#include "stream/cogroup.h"
#include "stream/event_window.h"
#include "stream/event_window_table.h"
#include "stream/graph.h"
#include "stream/job_error.h"
#include "stream/keyed_state.h"
#include "stream/pair_edge.h"
#include "stream/sums.h"
#include "stream/table.h"

namespace millrace {

// What a job says of its event time.
struct EventTimeOptions {
  // So much earlier than the latest a record may be and count: the watermark stays so far behind.
  std::chrono::milliseconds delay{};
  // A partition of the log that has brought no event time for so long does not hold the watermark back. Zero: it does.
  std::chrono::milliseconds idle = std::chrono::minutes(1);
  // A record is refused whose time is so much ahead of batch time: it would take the watermark with it, and make all
  // others late. Zero: none is.
  std::chrono::milliseconds ahead = std::chrono::hours(1);
};

// Of a table of windows by event time.
struct EventTableOptions {
  std::string name;  // of the state; none: that of the operator
  // How long tumbling and sliding windows stay in the table when they are final, by event time; none: their length, but
  // at least a minute. kForEver: mind how many windows there come to be.
  std::optional<std::chrono::milliseconds> keep;

  // As `keep`: windows stay.
  static constexpr std::chrono::milliseconds kForEver = std::chrono::milliseconds::max();
};

// A value that came too late, with its event time.
template <typename T>
struct LateValue {
  T value;
  int64_t time_ms;
  MILLRACE_FIELDS(LateValue, value, time_ms)
};

// The event time that a record has brought: what its writer, or Kafka, set.
inline constexpr auto from_record_timestamp() {
  return [](const Record& record) noexcept { return record.timestamp_ms; };
}

namespace internal {

template <typename T>
struct StampedValue {};
template <typename T>
struct StampedValue<Stamped<T>> {
  using type = T;
};

// Functions of values, for their stream with times.
template <typename T, typename F>
struct StampedMap {
  using Returned = Unexpected<std::decay_t<std::invoke_result_t<F&, const T&>>>;
  using Output = Stamped<typename Returned::type>;
  F function;

  auto operator()(const Stamped<T>& stamped) {
    if constexpr (Returned::kRefuses) {
      auto value = std::invoke(function, stamped.value);
      using Result = std::expected<Output, std::string>;
      if (!value) return Result(std::unexpected(std::string(std::move(value.error()))));
      return Result(stamped.with(*std::move(value)));
    } else {
      return stamped.with(std::invoke(function, stamped.value));
    }
  }
};

template <typename T, typename F>
struct StampedFlatMap {
  using Value = typename FlatMapStage<BeginStage<T>, const T&, F>::Output;
  using Output = Stamped<Value>;
  F function;

  template <typename Emit>
  auto operator()(const Stamped<T>& stamped, Emit& emit) {
    const auto give = [&](auto&& value) { emit(stamped.with(Value(std::forward<decltype(value)>(value)))); };
    if constexpr (NamesOutput<F>) {
      return function(stamped.value, give);
    } else {
      for (auto&& value : std::invoke(function, stamped.value)) give(std::forward<decltype(value)>(value));
    }
  }
};

// What gives the event times: milliseconds since 1970, of whatever type the function gives them in.
inline int64_t event_ms(int64_t time_ms) {
  return time_ms;
}
template <typename Duration>
int64_t event_ms(std::chrono::sys_time<Duration> time) {
  return std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count();
}

template <typename T, typename F>
struct StampBy {
  using Returned = Unexpected<std::decay_t<std::invoke_result_t<F&, const T&>>>;
  using Result = std::expected<Stamped<Owned<T>>, std::string>;
  F function;

  Result operator()(const T& value) {
    auto given = std::invoke(function, value);
    int64_t time_ms = 0;
    if constexpr (Returned::kRefuses) {
      if (!given) return std::unexpected(std::string(std::move(given.error())));
      time_ms = event_ms(*given);
    } else {
      time_ms = event_ms(given);
    }
    if (time_ms <= 0 || time_ms > kLastEventTime_ms) return std::unexpected(no_event_time(time_ms));
    return Stamped<Owned<T>>{Owned<T>(value), time_ms, 0, nullptr};
  }
};

}  // namespace internal

// `Base`: a Table. `K` and `V`: what closed() gives.
template <typename Base, typename K, typename V>
class EventTable : public Base {
 public:
  // By EventWindows.
  EventTable(Base table, std::shared_ptr<internal::Graph> graph, internal::StateId state)
      : Base(std::move(table)), graph_(std::move(graph)), state_(state) {}

  // Each window once, with its last value, when it is final: by state partitions, in each by the windows' ends, then by
  // the keys' bytes. What follows is done behind another shuffle, where no record can be refused.
  auto closed() const {
    using Next = Closed<K, V>;
    internal::NodeId node{};
    if constexpr (Keyable<K>) {
      node = graph_->add_source(
          state_,
          [state = state_](internal::MapInstance& instance) {
            auto* const table = dynamic_cast<internal::Closing<V>*>(&instance.state(state));
            CHECK(table != nullptr) << "a table of event-time windows knows which are final";
            instance.add_level_source(instance.make<internal::ClosedSource<K, V>>(*table, instance.state_partitions()));
          },
          internal::Graph::Gives::kOther, "closed");
    }
    return Stream<Next, Next, internal::BeginStage<Next>>(graph_, node);
  }

 private:
  std::shared_ptr<internal::Graph> graph_;
  internal::StateId state_;
};

// `S`: a Stream of Stamped<T>. `Size`: internal::EventWindowSize or internal::SessionGap.
template <typename S, typename T, typename Size>
class EventWindows {
 public:
  // By EventStream.
  EventWindows(S stream, Size size) : stream_(std::move(stream)), size_(size) {}

  // Per key and window its values, merged as by Stream::reduce_by_key.
  template <typename F>
  auto reduce_by_key(F function, EventTableOptions options = {}) const {
    if constexpr (internal::require_pairs<T>()) {
      return reduced(std::move(function), std::move(options), "reduce_by_key");
    }
  }
  // How often each value came in each window.
  auto count_by_value(EventTableOptions options = {}) const {
    return counted([](const T& value) { return std::pair<T, int64_t>(value, 1); }, std::move(options),
                   "count_by_value");
  }
  // Each value of a window, once; what stands behind it is 1.
  auto distinct(EventTableOptions options = {}) const {
    const auto ones = keyed([](const T& value) { return std::pair<T, int64_t>(value, 1); });
    return ones.folded(internal::FirstFold(), internal::FirstStays(), std::move(options), "distinct");
  }
  // How many values came in each window, under the key "all".
  auto count(EventTableOptions options = {}) const {
    return counted([](const T&) { return std::pair<std::string_view, int64_t>(kAll, 1); }, std::move(options), "count");
  }
  // Each window's values, merged, under the key "all".
  template <typename F>
  auto reduce(F function, EventTableOptions options = {}) const {
    return keyed([](const T& value) { return std::pair<std::string_view, T>(kAll, value); })
        .reduced(std::move(function), std::move(options), "reduce");
  }

  // The values that came too late for all windows they belong to, with their event times.
  auto late() const {
    return stream_
        .filter([size = size_](const internal::Stamped<T>& stamped) noexcept {
          return size.last_end(stamped.time_ms) <= stamped.watermark_ms;
        })
        .map([](const internal::Stamped<T>& stamped) { return LateValue<T>{stamped.value, stamped.time_ms}; });
  }

 private:
  template <typename, typename, typename>
  friend class EventWindows;

  static constexpr std::string_view kAll = "all";
  static constexpr bool kSessions = std::same_as<Size, internal::SessionGap>;

  template <typename F>
  auto keyed(F function) const {
    const auto pairs = stream_.mapped(internal::StampedMap<T, F>{std::move(function)}, nullptr);
    return EventWindows<std::remove_const_t<decltype(pairs)>, std::invoke_result_t<F&, const T&>, Size>(pairs, size_);
  }
  template <typename F>
  auto counted(F function, EventTableOptions options, const char* operator_name) const {
    return keyed(std::move(function)).reduced(SaturatingSum{}, std::move(options), operator_name);
  }

  template <typename F>
  auto reduced(F function, EventTableOptions options, const char* operator_name) const {
    using V = Owned<typename PairOf<T>::Value>;
    if constexpr (internal::check_reduce<V, F>()) {
      using Merge = internal::MergeInto<V, F>;
      const Merge merge{std::move(function)};
      return folded(internal::ReduceFold<V, Merge>{merge}, merge, std::move(options), operator_name);
    }
  }
  template <typename Fold, typename Merge>
  auto folded(Fold fold, Merge merge, EventTableOptions options, const char* operator_name) const {
    using K = typename PairOf<T>::Key;
    using V = typename Fold::State;
    const auto assigned =
        stream_.flat_mapped(typename Size::template Assign<K, typename PairOf<T>::Value>{size_}, nullptr);
    const std::string what = std::string(operator_name) + " in " + internal::name_of(size_);
    if (options.name.empty()) options.name = operator_name;
    const auto& graph = stream_.graph_;
    if constexpr (kSessions) {
      if (options.keep) {
        throw JobError(
            "sessions go from their table when they are final, since a key has ever more of them; put what "
            "closed() gives into a table to keep them");
      }
      graph->remove_keys();
      assigned.template close<internal::SessionValue<V>>();
      const auto state =
          graph->add_state(options.name, layout_of<Owned<K>>(), what, [size = size_, merge](size_t rank_size) {
            return internal::make_state<internal::SessionTable<V, Merge>>(rank_size, size, merge);
          });
      graph->refuse_changes(state,
                            "changes() of sessions would take them off again when they are final; take closed()");
      return table<Owned<K>, internal::Sessions<V>, Owned<K>, V>(state);
    } else {
      assigned.template close<V>(merge);
      using State = internal::EventWindowTable<Fold>;
      const int64_t keep_ms = graph->keep_windows(size_, options.keep);
      const auto state = graph->add_state(options.name, layout_of<WindowKey<Owned<K>>>(), what,
                                          [size = size_, keep_ms, fold](size_t rank_size) {
                                            return internal::make_state<State>(rank_size, size, keep_ms, fold);
                                          });
      if (keep_ms != State::kForEver) {
        graph->remove_keys();
        graph->refuse_changes(
            state,
            "changes() of windows that go when they are old would take them off again; take closed(), "
            "or keep them for ever");
      }
      return table<WindowKey<Owned<K>>, V, Owned<K>, V>(state);
    }
  }
  template <typename TableKey, typename Stored, typename K, typename V>
  auto table(internal::StateId state) const {
    using Base = Table<TableKey, Stored>;
    return EventTable<Base, K, V>(Base(stream_.graph_, state), stream_.graph_, state);
  }

  S stream_;
  Size size_;
};

// `S`: a Stream of Stamped<T>.
template <typename S>
class EventStream {
 public:
  // What it is a stream of.
  using Value = typename internal::StampedValue<typename S::Value>::type;

  // By Stream::event_time().
  explicit EventStream(S stream) : stream_(std::move(stream)) {}

  // These are those of Stream, and keep each value's time.
  template <typename F>
  auto map(F function) const {
    constexpr bool kFits = std::invocable<F&, const Value&>;
    static_assert(kFits, "millrace: map() needs a function of the stream's values");
    if constexpr (kFits) return of(stream_.mapped(internal::StampedMap<Value, F>{std::move(function)}, "map"));
  }
  template <typename F>
  auto filter(F function) const {
    constexpr bool kFits = std::predicate<F&, const Value&>;
    static_assert(kFits, "millrace: filter() needs a function of the stream's values to bool");
    if constexpr (kFits) {
      return of(stream_.filter([function = std::move(function)](const internal::Stamped<Value>& stamped) mutable {
        return std::invoke(function, stamped.value);
      }));
    }
  }
  template <typename F>
  auto flat_map(F function) const {
    if constexpr (internal::require_flat_map<const Value&, F>()) {
      return of(stream_.flat_map(internal::StampedFlatMap<Value, F>{std::move(function)}));
    }
  }
  template <typename F>
  auto key_by(F function) const {
    constexpr bool kFits = std::invocable<F&, const Value&>;
    static_assert(kFits, "millrace: key_by() needs a function of the stream's values to their keys");
    if constexpr (kFits) {
      using K = std::decay_t<std::invoke_result_t<F&, const Value&>>;
      return map([function = std::move(function)](const Value& value) mutable {
        return std::pair<K, Value>(std::invoke(function, value), value);
      });
    }
  }

  // Windows that follow one another: each begins at a multiple of the length, counted from 1970 (UTC).
  auto tumbling(std::chrono::milliseconds length) const { return sliding(length, length); }
  // One begins at each multiple of the slide; a value is in all of the length before it.
  auto sliding(std::chrono::milliseconds length, std::chrono::milliseconds slide) const {
    return windows(stream_.graph_->add_event_window(length, slide));
  }
  // Per key: a session goes on as long as values come less than `gap` apart.
  auto sessions(std::chrono::milliseconds gap) const { return windows(stream_.graph_->add_sessions(gap)); }

 private:
  template <typename Next>
  static auto of(Next stream) {
    return EventStream<Next>(std::move(stream));
  }
  template <typename Size>
  auto windows(Size size) const {
    return EventWindows<S, Value, Size>(stream_, size);
  }

  S stream_;
};

}  // namespace millrace
