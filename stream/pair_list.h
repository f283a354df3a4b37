// ListedPairs: the end of a chain of pairs that are not combined: all of them, in the order of their records, for what
// needs each value. A piece of a section is drawn in stream/pair_section.h. Owned by one lane and used by its thread
// only.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "stream/chain.h"
#include "stream/codec.h"
#include "stream/graph.h"

namespace millrace::internal {

// The pairs as bytes, held back until it is known whether their record is refused.
class PairList : public MapNode, public EdgeWriter {
 public:
  explicit PairList(int32_t state_partitions) : pieces_(static_cast<size_t>(state_partitions)) {}

  void commit(const Verdicts& verdicts) override;
  void clear() override;
  void measure(std::span<uint64_t> bytes) override;
  void write(std::span<char*> out) override;
  int64_t take_emitted() override { return std::exchange(emitted_, 0); }

 protected:
  // Gives room for the value's bytes, until the next call.
  char* hold(uint32_t record, std::string_view key, size_t value_size);
  // The same for all of the pair's bytes.
  char* hold_in(uint32_t record, uint32_t partition, size_t size);

 private:
  struct Held {
    uint32_t record;
    uint32_t partition;
    size_t begin;  // in held_bytes_, up to the next one's
  };
  struct Piece {
    uint64_t pairs = 0;
    std::string bytes;
  };

  std::vector<Held> held_;
  std::string held_bytes_;
  std::vector<Piece> pieces_;  // by state partition
  int64_t emitted_ = 0;
};

template <typename In, typename Chain, typename K, typename V>
class ListedPairs final : public PairList, public Consumer<In> {
 public:
  ListedPairs(int32_t state_partitions, Chain chain) : PairList(state_partitions), chain_(std::move(chain)) {}

  void consume(std::span<const In> values, std::span<const uint32_t> records, Verdicts& verdicts) override {
    run_chain(chain_, values, records, verdicts, [this](uint32_t record, const auto& pair) {
      if constexpr (std::same_as<std::remove_cvref_t<decltype(pair.second)>, V>) {
        add(record, pair.first, pair.second);
      } else {
        add(record, pair.first, V(pair.second));
      }
    });
  }

 private:
  void add(uint32_t record, const auto& key, const V& value) {
    Codec<V>::encode(hold(record, KeyText<K>::view(key, buffer_), Codec<V>::size(value)), value);
  }

  Chain chain_;
  KeyBuffer buffer_;
};

}  // namespace millrace::internal
