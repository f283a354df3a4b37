// Stream and Table: what a job is said in. Both are handles on the graph that is being made; they can be copied.
//
//   Stream<T>     values, batch by batch: map, filter, flat_map, ...
//   Table<K, V>   a view by key that follows the stream: publish, rank
//
// Functions are copied, at each step of the definition and into each thread that runs them, and called there by one
// thread only: they may keep buffers (no shared ones), but nothing that influences results. Their results must depend
// on their arguments alone: no clock, no randomness, no global.
//
// A record is refused, and becomes a dead letter, when a function throws, when map's function returns an unexpected
// std::string, or when flat_map's function returns a RecordProblem. Nothing of a refused record counts. A job of one
// chain whose functions are noexcept, and refuse before they emit if at all (`kRefusesFirst`), runs faster: what they
// give need not be held back until the record is through.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "stream/chain.h"
#include "stream/codec.h"
#include "stream/collected.h"
#include "stream/graph.h"
#include "stream/job_error.h"
#include "stream/keyed_state.h"
#include "stream/pair_edge.h"
#include "stream/record.h"

namespace millrace {

template <typename T>
struct PairOf : std::false_type {};
template <typename K, typename V>
struct PairOf<std::pair<K, V>> : std::true_type {
  using Key = std::remove_cv_t<K>;
  using Value = V;
};

// Adds counts. At the largest int64 it stays there, which keeps it commutative and associative.
struct SaturatingSum {
  void operator()(int64_t& into, const int64_t& from) const {
    if (__builtin_add_overflow(into, from, &into)) [[unlikely]]
      into = std::numeric_limits<int64_t>::max();
  }
};

template <typename K, typename V>
class Table {
 public:
  Table(std::shared_ptr<internal::Graph> graph, internal::StateId state) : graph_(std::move(graph)), state_(state) {}

  // Every key's value, in the sink as the HASH {JOB}:NAME, and for queries.
  Table publish(std::string name) const {
    static_assert(
        kTextual<V>,
        "millrace: publish() needs values that have a text. Give the type a member `std::string text() const`");
    graph_->publish(state_, std::move(name));
    return *this;
  }
  // The `size` highest by score (ties by the keys' bytes) as the ZSET {JOB}:NAME. Of a published table; the value is a
  // number or has a member `double score() const`.
  Table rank(std::string name, size_t size) const {
    static_assert(kHasScore, "millrace: rank() needs a number, or a value with a member `double score() const`");
    graph_->rank(state_, std::move(name), size, false);
    return *this;
  }
  // Every key in the ZSET; `top` of queries are the first `size`.
  Table rank_all(std::string name, size_t size) const {
    static_assert(kHasScore, "millrace: rank() needs a number, or a value with a member `double score() const`");
    graph_->rank(state_, std::move(name), size, true);
    return *this;
  }

 private:
  static constexpr bool kHasScore = HasScore<V> || std::is_arithmetic_v<V>;

  std::shared_ptr<internal::Graph> graph_;
  internal::StateId state_;
};

// Values of T that come from an origin of values of In through a chain.
template <typename T, typename In = Record, typename Chain = internal::BeginStage<Record>>
class Stream {
 public:
  Stream(std::shared_ptr<internal::Graph> graph, internal::NodeId origin, Chain chain = {})
      : graph_(std::move(graph)), origin_(origin), chain_(std::move(chain)) {}

  // One value for each: U(T), or std::expected<U, std::string>(T), which refuses the record by its error.
  template <typename F>
  auto map(F function) const {
    using Stage = internal::MapStage<Chain, T, F>;
    return with<typename Stage::Output>(Stage{chain_, std::move(function)});
  }

  // The values for which `function` is true.
  template <typename F>
  auto filter(F function) const {
    return with<T>(internal::FilterStage<Chain, T, F>{chain_, std::move(function)});
  }

  // Any number of values for each: a range(T); or void(T, emit) or RecordProblem(T, emit) that names its Output, see
  // emitting<Output>().
  template <typename F>
  auto flat_map(F function) const {
    using Stage = internal::FlatMapStage<Chain, T, F>;
    return with<typename Stage::Output>(Stage{chain_, std::move(function)});
  }

  // function(stream): for pieces of a job that are used again.
  template <typename F>
  auto transform(F function) const {
    return function(*this);
  }

  // This stream made once, for several consumers: without it each of them runs the whole chain again.
  auto cache() const {
    const auto node = collected(1);
    collect(node, 0);
    return from(node);
  }

  // The values of both streams; those of one record stand in the order of the streams.
  template <typename OtherIn, typename OtherChain>
  auto union_with(const Stream<T, OtherIn, OtherChain>& other) const {
    const auto node = collected(2);
    collect(node, 0);
    other.collect(node, 1);
    return from(node);
  }

  // (function(value), value)
  template <typename F>
  auto key_by(F function) const {
    using K = std::decay_t<std::invoke_result_t<F&, const T&>>;
    return map([function = std::move(function)](const T& value) mutable noexcept(
                   std::is_nothrow_invocable_v<F&, const T&>) { return std::pair<K, T>(function(value), value); });
  }

  // Per key all values since the start, merged: V(V, V) or void(V& into, const V& from), associative and commutative,
  // and without exceptions. Mind the range of V: a sum since the start may grow beyond an int.
  template <typename F>
    requires PairOf<T>::value
  auto reduce_by_key(F function, std::string state = "reduce_by_key") const {
    using K = typename PairOf<T>::Key;
    using V = Owned<typename PairOf<T>::Value>;
    using Merge = internal::MergeInto<V, F>;
    require_codec<V>();
    static_assert(
        std::invocable<const F&, V&, const V&>,
        "millrace: reduce_by_key() needs a function V(V, V) or void(V& into, const V& from) that changes nothing "
        "of its own");
    static_assert(std::is_trivially_copyable_v<V>, "millrace: reduce_by_key() needs a trivially copyable value so far");
    static_assert(!std::is_floating_point_v<V>,
                  "millrace: sums of floating-point numbers depend on their order; sum integers, e.g. cents for euros");
    const Merge merge{std::move(function)};
    graph_->add_node(
        [origin = origin_, chain = chain_, merge](internal::MapInstance& instance) {
          const int32_t partitions = instance.state_partitions();
          if constexpr (Chain::kDirect && std::same_as<In, Record>) {
            if (instance.direct() && origin == internal::Graph::kSource) {
              auto edge = std::make_unique<internal::DirectPairs<Chain, K, V, Merge>>(partitions, chain, merge);
              instance.set_direct_consumer(*edge);
              instance.add_edge(*edge);
              return instance.add(std::move(edge));
            }
          }
          auto edge = std::make_unique<internal::HeldPairs<In, Chain, K, V, Merge>>(partitions, chain, merge);
          instance.origin<In>(origin).attach(*edge);
          instance.add_edge(*edge);
          instance.add(std::move(edge));
        },
        origin_ == internal::Graph::kSource, Chain::kDirect);
    const auto id = graph_->add_state(std::move(state), [merge](size_t rank_size) -> std::unique_ptr<StateTable> {
      return std::make_unique<internal::KeyedStateTable<V, Merge>>(rank_size, merge);
    });
    return Table<Owned<K>, V>(graph_, id);
  }

  // How often each value came since the start.
  auto count_by_value(std::string state = "count_by_value") const {
    return map([](const T& value) noexcept(std::is_nothrow_copy_constructible_v<T>) {
             return std::pair<T, int64_t>(value, 1);
           })
        .reduce_by_key(SaturatingSum{}, std::move(state));
  }

 private:
  template <typename, typename, typename>
  friend class Stream;

  [[nodiscard]] internal::NodeId collected(size_t branches) const {
    static_assert(
        std::same_as<T, Record> || Encodable<Owned<T>>,
        "millrace: values that are kept for several consumers must be such as can be stored; see stream/codec.h");
    return graph_->add_node(
        [branches](internal::MapInstance& instance) {
          instance.add(std::make_unique<internal::Collected<Owned<T>>>(branches));
        },
        false, false);
  }

  void collect(internal::NodeId node, size_t branch) const {
    graph_->add_node(
        [origin = origin_, chain = chain_, node, branch](internal::MapInstance& instance) {
          auto& into = static_cast<internal::Collected<Owned<T>>&>(instance.node(node)).branch(branch);
          auto collector = std::make_unique<internal::Collector<In, Chain, Owned<T>>>(chain, into);
          instance.origin<In>(origin).attach(*collector);
          instance.add(std::move(collector));
        },
        origin_ == internal::Graph::kSource, false);
  }

  [[nodiscard]] auto from(internal::NodeId node) const {
    return Stream<Owned<T>, Owned<T>, internal::BeginStage<Owned<T>>>(graph_, node);
  }

  template <typename U, typename Next>
  auto with(Next chain) const {
    return Stream<U, In, Next>(graph_, origin_, std::move(chain));
  }

  std::shared_ptr<internal::Graph> graph_;
  internal::NodeId origin_;
  Chain chain_;
};

}  // namespace millrace
