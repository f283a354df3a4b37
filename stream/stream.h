// Stream and Table: what a job is said in. Both are handles on the graph that is being made; they can be copied.
//
//   Stream<T>     values, batch by batch: map, filter, flat_map, ...
//   Table<K, V>   a view by key that follows the stream: map_values, publish, rank; changes() are a stream again
//
// Functions are copied, at each step of the definition and into each thread that runs them, and called there by one
// thread only: they may keep buffers (no shared ones), but nothing that influences results. Their results must depend
// on their arguments alone: no clock, no randomness, no global.
//
// A record is refused, and becomes a dead letter, when a function throws, when map's function returns an unexpected
// std::string, or when flat_map's function returns a RecordProblem. Nothing of a refused record counts. Behind a
// shuffle (changes(), repartition(), a join within a time to live) there is no record to refuse: the job fails. A job
// of one chain whose functions are noexcept, and refuse before they emit if at all (`kRefusesFirst`), runs faster: what
// they give need not be held back until the record is through.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "stream/append_output.h"
#include "stream/chain.h"
#include "stream/codec.h"
#include "stream/collected.h"
#include "stream/event_stream.h"
#include "stream/event_times.h"
#include "stream/graph.h"
#include "stream/index_pairs.h"
#include "stream/job_error.h"
#include "stream/join_streams.h"
#include "stream/keyed_state.h"
#include "stream/pair_edge.h"
#include "stream/pair_list.h"
#include "stream/record.h"
#include "stream/repartition.h"
#include "stream/state_options.h"
#include "stream/sums.h"
#include "stream/table.h"
#include "stream/update_state.h"
#include "stream/windowed.h"

namespace millrace {

template <typename T, typename In, typename Chain>
class Stream {
 public:
  using Value = T;  // what it is a stream of

  // `operators`: those of the chain, for people.
  Stream(std::shared_ptr<internal::Graph> graph, internal::NodeId origin, Chain chain = {}, std::string operators = "")
      : graph_(std::move(graph)), origin_(origin), chain_(std::move(chain)), operators_(std::move(operators)) {}

  // One value for each: U(T), or std::expected<U, std::string>(T), which refuses the record by its error.
  template <typename F>
  auto map(F function) const {
    constexpr bool kFits = std::invocable<F&, T>;
    static_assert(kFits, "millrace: map() needs a function of the stream's values");
    if constexpr (kFits) return mapped(std::move(function), "map");
  }

  // The values for which `function` is true.
  template <typename F>
  auto filter(F function) const {
    constexpr bool kFits = std::predicate<F&, const T&>;
    static_assert(kFits, "millrace: filter() needs a function of the stream's values to bool");
    if constexpr (kFits) return with<T>(internal::FilterStage<Chain, T, F>{chain_, std::move(function)}, "filter");
  }

  // Any number of values for each: a range(T); or void(T, emit) or RecordProblem(T, emit) that names its Output, see
  // emitting<Output>().
  template <typename F>
  auto flat_map(F function) const {
    if constexpr (internal::require_flat_map<T, F>()) return flat_mapped(std::move(function), "flat_map");
  }

  // The same values behind a shuffle, dealt to the state partitions in turn: what follows runs on all of them, however
  // few or unequal the log's partitions are. Worth it where that costs more than to send the values; nothing is kept.
  // They stand by state partitions then, in each as they came. `name`: of the state, where a job has several.
  auto repartition(std::string name = "repartition") const { return internal::Repartition::of(*this, std::move(name)); }

  // function(stream): for pieces of a job that are used again.
  template <typename F>
  auto transform(F function) const {
    return function(*this);
  }

  // This stream made once, for several consumers: without it each of them runs the whole chain again.
  auto cache() const {
    const auto node = collected(1, "cache");
    collect(node, 0);
    return from(node);
  }

  // The values of both streams; those of one record stand in the order of the streams.
  template <typename U, typename OtherIn, typename OtherChain>
  auto union_with(const Stream<U, OtherIn, OtherChain>& other) const {
    constexpr bool kSame = std::same_as<T, U>;
    static_assert(kSame,
                  "millrace: union_with() takes a stream of values of the same type; map() one of the two to it");
    if constexpr (kSame) {
      graph_->check_same_level(origin_, other.origin_);
      const auto node = collected(2, "union_with");
      collect(node, 0);
      other.collect(node, 1);
      return from(node);
    }
  }

  // (function(value), value)
  template <typename F>
  auto key_by(F function) const {
    constexpr bool kFits = std::invocable<F&, const T&>;
    static_assert(kFits, "millrace: key_by() needs a function of the stream's values to their keys");
    if constexpr (kFits) {
      using K = std::decay_t<std::invoke_result_t<F&, const T&>>;
      return mapped([function = std::move(function)](const T& value) mutable noexcept(
                        std::is_nothrow_invocable_v<F&, const T&>) { return std::pair<K, T>(function(value), value); },
                    "key_by");
    }
  }

  // What came in the last `length` up to each multiple of `slide`, by batch time; see Windowed. Both are multiples of
  // the batch interval. Without a slide windows follow one another.
  auto window(std::chrono::milliseconds length, std::chrono::milliseconds slide) const {
    return Windowed<Stream, T>(*this, graph_->add_window(length, slide));
  }
  auto window(std::chrono::milliseconds length) const { return window(length, length); }
  // What came in the newest batch alone (all batches of a batch interval).
  auto each_batch() const { return Windowed<Stream, T>(*this, graph_->add_batch_window()); }

  // Gives each value a time of its own, by which EventStream has windows: `function` makes of a value Unix
  // milliseconds, or a std::chrono::sys_time, or a std::expected of these that refuses the record. A job does this
  // once, before any shuffle.
  template <typename F>
  auto event_time(F function, EventTimeOptions options = {}) const {
    using Kept = Owned<T>;
    using Stage = internal::MapStage<Chain, T, internal::StampBy<T, F>>;
    static_assert(std::same_as<T, Record> || Encodable<Kept>,
                  "millrace: values that get an event time must be such as can be stored: give a struct "
                  "MILLRACE_FIELDS(Type, a, b), see stream/codec.h");
    graph_->set_event_time(origin_, options.delay, options.idle, options.ahead);
    const auto node =
        internal::add_event_times<In, Kept>(*graph_, origin_, Stage{chain_, {std::move(function)}},
                                            options.ahead.count(), kListed, internal::then(operators_, "event_time"));
    using Next = internal::Stamped<Kept>;
    using Timed = Stream<Next, Next, internal::BeginStage<Next>>;
    return EventStream<Timed>(Timed(graph_, node));
  }

  // Joins of two streams of pairs, behind a shuffle: std::pair(key, std::pair(left, right)) of each value of this
  // stream with each of the other one that has the same key and came within options.time_to_live of it, both counted;
  // by batch time, once, in the batch of the later one. In a batch they stand by state partitions, by the keys' bytes,
  // and then as the later ones came (of one record first this stream's). For joins of windows see Windowed.
  //
  // Values are kept for their time to live, and each checkpoint writes all that are kept of a key that has changed:
  // mind keys with many values.
  template <typename U, typename OtherIn, typename OtherChain>
  auto join(const Stream<U, OtherIn, OtherChain>& other, JoinOptions options) const {
    return internal::JoinStreams<false, false>::of(*this, other, std::move(options), "join");
  }
  // The same, with std::pair(left, std::optional<right>), and each value of this stream that finds no partner in its
  // time to live once alone: at the end of the first tick that is so much later, behind what that batch has joined of
  // its key.
  template <typename U, typename OtherIn, typename OtherChain>
  auto left_outer_join(const Stream<U, OtherIn, OtherChain>& other, JoinOptions options) const {
    return internal::JoinStreams<false, true>::of(*this, other, std::move(options), "left_outer_join");
  }
  template <typename U, typename OtherIn, typename OtherChain>
  auto right_outer_join(const Stream<U, OtherIn, OtherChain>& other, JoinOptions options) const {
    return internal::JoinStreams<true, false>::of(*this, other, std::move(options), "right_outer_join");
  }
  template <typename U, typename OtherIn, typename OtherChain>
  auto full_outer_join(const Stream<U, OtherIn, OtherChain>& other, JoinOptions options) const {
    return internal::JoinStreams<true, true>::of(*this, other, std::move(options), "full_outer_join");
  }

  // Per key all values since the start, merged: V(V, V) or void(V& into, const V& from), associative and commutative,
  // and without exceptions. Mind the range of V: a sum since the start may grow beyond an int.
  template <typename F>
  auto reduce_by_key(F function, StateOptions options = {}) const {
    if constexpr (internal::require_pairs<T>()) {
      return reduced(std::move(function), std::move(options), "reduce_by_key");
    }
  }
  template <typename F>
  auto reduce_by_key(F function, const StateName auto& state) const {
    return reduce_by_key(std::move(function), StateOptions{.name = state});
  }

  // Per key what create(first value) makes, changed by add(S& into, value) or S(S, value) with every other value: of
  // one batch in the order of the log's partitions and their records; behind a shuffle in that of the state partitions
  // and their keys.
  template <typename S, typename Create, typename Add>
  auto combine_by_key(Create create, Add add, StateOptions options = {}) const {
    if constexpr (internal::require_pairs<T>()) {
      using V = Owned<typename PairOf<T>::Value>;
      if constexpr (internal::check_combine<V, S, Create, Add>()) {
        close<V>();
        using Into = internal::MergeInto<S, Add, V>;
        return running(internal::CombineFold<V, S, Create, Into>{std::move(create), Into{std::move(add)}},
                       std::move(options), "combine_by_key");
      } else {
        return no_table<S>();
      }
    }
  }
  template <typename S, typename Create, typename Add>
  auto combine_by_key(Create create, Add add, const StateName auto& state) const {
    return combine_by_key<S>(std::move(create), std::move(add), StateOptions{.name = state});
  }

  // Per key a state that `function` makes anew, none: the key goes.
  //
  //   std::optional<S>(key, std::span<const V> values, std::optional<S> state, BatchTime time)
  //
  // The key and the time may be left out. It is called for each key with values in a batch, and at each tick (batch
  // interval) for all others, with no values; `only_changed` leaves these alone. Mind what a state of many keys costs
  // then. The values stand in the same order as for combine_by_key.
  template <typename S, typename F>
  auto update_state_by_key(F function, UpdateOptions options = {}) const {
    if constexpr (internal::require_pairs<T>()) {
      using K = Owned<typename PairOf<T>::Key>;
      using V = Owned<typename PairOf<T>::Value>;
      if constexpr (internal::check_update<K, V, S, F>()) {
        using Function = internal::StateFunction<K, V, S, F>;
        close<V>();
        graph_->remove_keys();
        if (!options.only_changed) graph_->need_time();
        return state<S>(
            options.name, "update_state_by_key", "update_state_by_key",
            [function = Function{std::move(function)}, only_changed = options.only_changed](size_t rank_size) {
              return internal::make_state<internal::UpdateTable<V, S, Function>>(rank_size, only_changed, function);
            });
      } else {
        return no_table<S>();
      }
    }
  }
  template <typename S, typename F>
  auto update_state_by_key(F function, const StateName auto& state) const {
    return update_state_by_key<S>(std::move(function), UpdateOptions{.name = state});
  }

  // Appends each value as a line of `format` (text_lines, json_lines, csv_lines; see stream/output_text.h) to what the
  // job is told of with --output NAME=URI: files or a topic of Kafka. Each is there once, whatever died. In a batch
  // they stand in the order of the log's partitions and their records; behind a shuffle in that of the state partitions
  // and their keys. A text with a newline in it is two lines in a file.
  template <typename Format = TextLines>
  void write(std::string name, Format format = {}, OutputOptions options = {}) const {
    if constexpr (internal::require_line<T>(format)) {
      append<internal::LineWriter<Format>>({std::move(name), Format::kName, options.parts}, nullptr);
    }
  }

  // Calls function(BatchOfOutput, std::span<const T> values) with the values of each batch that has some, at least
  // once, in the order as for write(). After a recovery batches may come again, with the same values: what the function
  // does must be such that it can be done twice, by the batch's number for instance. It may block; later batches wait.
  // What it throws fails the job.
  template <typename F>
  void for_each_batch(std::string name, F function, OutputOptions options = {}) const {
    using V = Owned<T>;
    constexpr bool kFits = std::invocable<F&, const BatchOfOutput&, std::span<const V>>;
    static_assert(kFits,
                  "millrace: for_each_batch() needs a function of (millrace::BatchOfOutput, std::span<const T>)");
    if constexpr (require_codec<V>() && kFits) {
      append<internal::ValueWriter<V>>(
          {std::move(name), "", options.parts}, [function = std::move(function)]() -> std::unique_ptr<BatchFunction> {
            return std::unique_ptr<BatchFunction>(new internal::CallForBatch<V, F>(function));
          });
    }
  }

  // How often each value came since the start.
  auto count_by_value(StateOptions options = {}) const {
    return with_one().reduced(SaturatingSum{}, std::move(options), "count_by_value");
  }
  auto count_by_value(const StateName auto& state) const { return count_by_value(StateOptions{.name = state}); }

  // Each value that came since the start, once; what stands behind it is 1.
  auto distinct(StateOptions options = {}) const {
    const auto ones = with_one();
    ones.template close<int64_t>(internal::FirstStays());
    return ones.running(internal::FirstFold(), std::move(options), "distinct");
  }
  auto distinct(const StateName auto& state) const { return distinct(StateOptions{.name = state}); }

  // An inverted index of pairs (key, member), see stream/index_pairs.h.
  auto index_by_key(const std::string& name = "index_by_key") const { return internal::IndexPairs::of(*this, name); }

  // How many values came since the start, under the key "all".
  auto count(StateOptions options = {}) const {
    return under_one_key_as_one().reduced(SaturatingSum{}, std::move(options), "count");
  }
  auto count(const StateName auto& state) const { return count(StateOptions{.name = state}); }

  // All values since the start, merged as by reduce_by_key, under the key "all".
  template <typename F>
  auto reduce(F function, StateOptions options = {}) const {
    return under_one_key().reduced(std::move(function), std::move(options), "reduce");
  }
  template <typename F>
  auto reduce(F function, const StateName auto& state) const {
    return reduce(std::move(function), StateOptions{.name = state});
  }

 private:
  template <typename, typename, typename>
  friend class Stream;
  template <typename, typename>
  friend class Windowed;
  template <typename>
  friend class EventStream;
  template <typename, typename, typename>
  friend class EventWindows;
  friend struct internal::SumGroups;
  template <bool, bool>
  friend struct internal::JoinStreams;
  friend struct internal::Repartition;
  friend struct internal::IndexPairs;
  friend class JobBuilder;

  static constexpr std::string_view kAll = "all";                           // the one key of count() and reduce()
  static constexpr bool kCopies = std::is_nothrow_copy_constructible_v<T>;  // without exceptions
  static constexpr internal::Graph::Traits kTraits{.direct = Chain::kDirect, .refuses = Chain::kRefuses};
  static constexpr internal::Graph::Traits kListed{.direct = false, .refuses = Chain::kRefuses};

  // `name`: for people; null where it is a part of something else.
  template <typename F>
  auto mapped(F function, const char* name) const {
    using Stage = internal::MapStage<Chain, T, F>;
    return with<typename Stage::Output>(Stage{chain_, std::move(function)}, name);
  }
  template <typename F>
  auto flat_mapped(F function, const char* name) const {
    using Stage = internal::FlatMapStage<Chain, T, F>;
    return with<typename Stage::Output>(Stage{chain_, std::move(function)}, name);
  }

  // All that came so far, in one word.
  auto called(std::string operators) const { return Stream(graph_, origin_, chain_, std::move(operators)); }

  auto with_one() const {
    return mapped([](const T& value) noexcept(kCopies) { return std::pair<T, int64_t>(value, 1); }, nullptr);
  }
  auto under_one_key() const {
    return mapped([](const T& value) noexcept(kCopies) { return std::pair<std::string_view, T>(kAll, value); },
                  nullptr);
  }
  auto under_one_key_as_one() const {
    return mapped([](const T&) noexcept { return std::pair<std::string_view, int64_t>(kAll, 1); }, nullptr);
  }

  template <typename F>
  auto reduced(F function, StateOptions options, const char* operator_name) const {
    using V = Owned<typename PairOf<T>::Value>;
    if constexpr (internal::check_reduce<V, F>()) {
      using Merge = internal::MergeInto<V, F>;
      const Merge merge{std::move(function)};
      close<V>(merge);
      return running(internal::ReduceFold<V, Merge>{merge}, std::move(options), operator_name);
    } else {
      return no_table<V>();
    }
  }

  // Closes a chain of pairs with an edge. One that combines needs values of a fixed size.
  template <typename V, typename Merge>
  void close(const Merge& merge) const {
    using K = typename PairOf<T>::Key;
    if constexpr (!std::is_trivially_copyable_v<V>) {
      close<V>();
    } else if constexpr (require_key<K>()) {
      graph_->add_node(
          origin_,
          [origin = origin_, chain = chain_, merge](internal::MapInstance& instance) {
            const int32_t partitions = instance.state_partitions();
            if constexpr (Chain::kDirect && std::same_as<In, Record>) {
              if (instance.direct() && origin == internal::Graph::kSource) {
                auto& edge = instance.make<internal::DirectPairs<Chain, K, V, Merge>>(partitions, chain, merge);
                instance.set_direct_consumer(edge);
                instance.add_edge(edge);
                return;
              }
            }
            attach(instance, origin,
                   instance.make<internal::HeldPairs<In, Chain, K, V, Merge>>(partitions, chain, merge));
          },
          kTraits, operators_);
    }
  }
  // ...and with one that does not combine.
  template <typename V>
  void close() const {
    using K = typename PairOf<T>::Key;
    if constexpr (require_key<K>()) {
      graph_->add_node(
          origin_,
          [origin = origin_, chain = chain_](internal::MapInstance& instance) {
            attach(instance, origin,
                   instance.make<internal::ListedPairs<In, Chain, K, V>>(instance.state_partitions(), chain));
          },
          kListed, operators_);
    }
  }
  // ...and with one whose records are appended.
  template <typename Writer>
  void append(OutputPlan plan, std::function<std::unique_ptr<BatchFunction>()> make_function) const {
    graph_->add_node(
        origin_,
        [origin = origin_, chain = chain_, parts = plan.parts](internal::MapInstance& instance) {
          attach(instance, origin,
                 instance.make<internal::AppendEdge<In, Chain, Writer>>(instance.state_partitions(), parts, chain));
        },
        kListed, operators_);
    graph_->add_output(std::move(plan), std::move(make_function));
  }
  template <typename Edge>
  static void attach(internal::MapInstance& instance, internal::NodeId origin, Edge& edge) {
    instance.template origin<In>(origin).attach(edge);
    instance.add_edge(edge);
  }

  // The state behind the edge that was made last.
  template <typename S, typename Make>
  auto state(const std::string& name, const char* operator_name, std::string what, Make make) const {
    using K = Owned<typename PairOf<T>::Key>;
    const auto id =
        graph_->add_state(name.empty() ? operator_name : name, layout_of<K>(), std::move(what), std::move(make));
    return Table<K, S>(graph_, id);
  }
  // What there is in its place where a message says why it cannot be; it only lets the compiler read on.
  template <typename S>
  auto no_table() const {
    return Table<Owned<typename PairOf<T>::Key>, S>(graph_, {});
  }
  template <typename Fold>
  auto running(Fold fold, StateOptions options, const char* operator_name) const {
    using S = typename Fold::State;
    if (options.time_to_live.count() == 0) {
      return state<S>(options.name, operator_name, operator_name, [fold](size_t rank_size) {
        return internal::make_state<internal::KeyedStateTable<Fold>>(rank_size, fold);
      });
    }
    const int64_t time_to_live_ms = graph_->live_for(options.time_to_live);
    graph_->remove_keys();
    return state<S>(options.name, operator_name, internal::what_lives(operator_name, time_to_live_ms),
                    [fold, time_to_live_ms](size_t rank_size) {
                      return internal::make_state<internal::ExpiringStateTable<Fold>>(rank_size, time_to_live_ms, fold);
                    });
  }

  [[nodiscard]] internal::NodeId collected(size_t branches, const char* name) const {
    static_assert(std::same_as<T, Record> || Encodable<Owned<T>>,
                  "millrace: values that are kept for several consumers must be such as can be stored: give a struct "
                  "MILLRACE_FIELDS(Type, a, b), see stream/codec.h");
    return graph_->add_node(
        origin_,
        [branches](internal::MapInstance& instance) { instance.make<internal::Collected<Owned<T>>>(branches); }, {},
        name);
  }

  void collect(internal::NodeId node, size_t branch) const {
    const auto feed = graph_->add_node(
        origin_,
        [origin = origin_, chain = chain_, node, branch](internal::MapInstance& instance) {
          auto& into = static_cast<internal::Collected<Owned<T>>&>(instance.node(node)).branch(branch);
          instance.origin<In>(origin).attach(instance.make<internal::Collector<In, Chain, Owned<T>>>(chain, into));
        },
        kListed, operators_);
    graph_->add_feed(node, feed);
  }

  [[nodiscard]] auto from(internal::NodeId node) const {
    return Stream<Owned<T>, Owned<T>, internal::BeginStage<Owned<T>>>(graph_, node);
  }

  template <typename U, typename Next>
  auto with(Next chain, const char* name) const {
    return Stream<U, In, Next>(graph_, origin_, std::move(chain), internal::then(operators_, name));
  }

  std::shared_ptr<internal::Graph> graph_;
  internal::NodeId origin_;
  Chain chain_;
  std::string operators_;
};

}  // namespace millrace
