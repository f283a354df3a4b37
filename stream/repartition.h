// Repartition: what stream.repartition() adds: an edge that deals values to the state partitions in turn, and the state
// behind it, which holds those of the newest batch for the next level. Nothing is kept between batches. Owned by one
// lane and used by its thread only.
//
// Where the round begins is a hash of the first value and of the place that the values are from (a range of a log
// partition, or a batch of a state partition): so the same records are dealt alike whenever they are mapped, and small
// batches do not all begin with the same state partition.
//
// A piece of a section: number of values (varint), then each as Codec<V> encodes it.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/model/hash.h"
#include "stream/codec.h"
#include "stream/graph.h"
#include "stream/pair_list.h"
#include "stream/pair_section.h"
#include "stream/table_without_keys.h"

namespace millrace {

template <typename T, typename In, typename Chain>
class Stream;

namespace internal {

// Where a round begins that deals to so many.
inline uint32_t begin_of_round(std::string_view first_value, uint64_t place, size_t partitions) {
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15;
  return static_cast<uint32_t>(((hash_of(first_value) + place * kOdd) >> 32) % partitions);
}

template <typename In, typename Chain, typename V>
class DealtValues final : public PairList, public Consumer<In> {
 public:
  // `instance`: that it is a node of.
  DealtValues(const MapInstance& instance, Chain chain)
      : PairList(instance.state_partitions()), instance_(instance), chain_(std::move(chain)) {}

  void consume(std::span<const In> values, std::span<const uint32_t> records, Verdicts& verdicts) override {
    run_chain(chain_, values, records, verdicts, [this](uint32_t record, const auto& value) {
      if constexpr (std::same_as<std::remove_cvref_t<decltype(value)>, V>) {
        add(record, value);
      } else {
        add(record, V(value));
      }
    });
  }

  void clear() override {
    PairList::clear();
    next_.reset();
  }

 private:
  void add(uint32_t record, const V& value) {
    const auto partitions = static_cast<uint32_t>(instance_.state_partitions());
    const size_t size = Codec<V>::size(value);
    if (!next_) {
      std::string first(size, '\0');
      Codec<V>::encode(first.data(), value);
      next_ = begin_of_round(first, instance_.place(), partitions);
    }
    Codec<V>::encode(hold_in(record, *next_, size), value);
    next_ = (*next_ + 1) % partitions;
  }

  const MapInstance& instance_;
  Chain chain_;
  std::optional<uint32_t> next_;  // state partition; none: no value yet
};

template <typename V>
class DealtTable final : public TableWithoutKeys {
 public:
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    values_ = {};  // a burst may have made it large
    for (size_t index = 0; index < sections.size(); ++index) {
      const char* const begin = sections[index].data();
      const char* const end = begin + sections[index].size();
      const char* at = begin;
      uint64_t count = 0;
      bool good = get_varint(at, end, count);
      for (; good && count > 0; --count) good = Codec<V>::decode(at, end, values_.emplace_back());
      if (!good || at != end) return unreadable_section(index, context.batch, static_cast<size_t>(at - begin));
    }
    return {};
  }
  // Of the newest batch: of each section in turn, in their order.
  [[nodiscard]] std::span<const V> values() const { return values_; }

  [[nodiscard]] bool changed() const override { return false; }
  void freeze(StatePartition, StateRun&) override {}
  void settle_freeze(bool) override {}
  Status restore(const StateRun::Entry&, bool) override {
    return fail(ErrorCode::kCorrupt, "the checkpoint has something of a repartition(), which keeps nothing");
  }
  [[nodiscard]] int64_t memory_bytes() const override { return static_cast<int64_t>(values_.capacity() * sizeof(V)); }

 private:
  std::vector<V> values_;
};

template <typename V>
class DealtSource final : public Origin<V>, public LevelSource {
 public:
  explicit DealtSource(const DealtTable<V>& table) : table_(table) {}

  void begin_level() override { next_ = 0; }
  bool give_next(Verdicts& verdicts) override {
    const std::span<const V> left = table_.values().subspan(next_);
    if (left.empty()) return false;
    const std::span<const V> chunk = left.first(std::min(left.size(), kChunk));
    next_ += chunk.size();
    verdicts.begin(chunk.size());
    this->give(chunk, std::span(kAscending).first(chunk.size()), verdicts);
    return true;
  }

 private:
  const DealtTable<V>& table_;  // of the same state partition
  size_t next_ = 0;             // of its values
};

// A friend of Stream.
struct Repartition {
  template <typename T, typename In, typename Chain>
  static auto of(const Stream<T, In, Chain>& stream, std::string name) {
    using V = Owned<T>;
    static_assert(Encodable<V>,
                  "millrace: values that are dealt anew must be such as can be stored; see stream/codec.h. Make of a "
                  "Record what is needed of it by map()");
    static_assert(!std::same_as<V, bool>, "millrace: repartition() is not for a stream of bools; map them to integers");
    NodeId node{};
    if constexpr (Encodable<V> && !std::same_as<V, bool>) {
      Graph& graph = *stream.graph_;
      graph.add_node(
          stream.origin_,
          [origin = stream.origin_, chain = stream.chain_](MapInstance& instance) {
            Stream<T, In, Chain>::attach(instance, origin, instance.make<DealtValues<In, Chain, V>>(instance, chain));
          },
          Stream<T, In, Chain>::kListed, stream.operators_);
      const StateId state =
          graph.add_state(std::move(name), "none", "repartition", [](size_t) { return make_state<DealtTable<V>>(); });
      node = graph.add_source(
          state,
          [state](MapInstance& instance) {
            auto& table = static_cast<DealtTable<V>&>(instance.state(state));
            instance.add_level_source(instance.make<DealtSource<V>>(table));
          },
          Graph::Gives::kOther, "");
    }
    return Stream<V, V, BeginStage<V>>(stream.graph_, node);
  }
};

}  // namespace internal
}  // namespace millrace
