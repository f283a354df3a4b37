// PairEdge: the end of a chain of pairs: equal keys are combined at once, so that what leaves the map is one pair per
// distinct key. Owned by one lane and used by its thread only.
//
// A piece of a section is drawn in stream/pair_section.h. Each key occurs once in a piece. Pairs stand in the order in
// which the map saw their keys first, so that the bytes depend on the records alone: not on the borders of chunks, nor
// on how large the map's table had grown before.
#pragma once

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "stream/byte_table.h"
#include "stream/chain.h"
#include "stream/codec.h"
#include "stream/graph.h"
#include "stream/sums.h"
#include "stream/varint.h"

namespace millrace::internal {

// Pairs combined by key, remembered in the order in which keys came first. Additions of short keys wait in a queue
// behind the prefetch of their slot, so that the misses of a table larger than the caches overlap.
template <typename Value, typename Merge>
class PairCombiner {
  // A small one in registers: a reference would have each be written to memory for the sake of long keys.
  using Passed = std::conditional_t<sizeof(Value) <= 16, Value, const Value&>;

 public:
  explicit PairCombiner(Merge merge) : merge_(std::move(merge)) {}

  [[gnu::always_inline]] void add(std::string_view key, Passed value) {
    if (key.size() > ByteKey::kInlineBytes) [[unlikely]] {
      add_long(key, value);
      return;
    }
    const ByteKey words = make_inline_key(key.data(), key.size());
    const uint64_t hash = hash_inline_key(words);
    table_.prefetch(hash);
    queue_[queued_++] = {words, hash, value};
    if (queued_ % kDepth == 0) turn();
  }

  void flush() {
    const size_t newer = queued_ / kDepth * kDepth;
    if (older_waits_) combine(kDepth - newer, kDepth);
    combine(newer, queued_ % kDepth);
    queued_ = 0;
    older_waits_ = false;
  }

  // After a flush: the distinct keys by first occurrence.
  [[nodiscard]] const std::vector<ByteSlot>& order() const { return order_; }
  [[nodiscard]] const ByteTable<Value>& table() const { return table_; }

  void clear() {
    queued_ = 0;
    older_waits_ = false;
    table_.clear(order_);
    order_.clear();
  }

 private:
  static constexpr size_t kDepth = 32;

  struct Queued {
    ByteKey key;
    uint64_t hash;
    Value value;
  };

  // One half of the queue is full: combines the other, older one, whose slots have had time to arrive.
  [[gnu::noinline]] void turn() {
    queued_ %= queue_.size();
    if (older_waits_) combine(queued_, kDepth);
    older_waits_ = true;
  }

  void combine(size_t from, size_t count) {
    for (size_t i = from; i < from + count; ++i) {
      const Queued& next = queue_[i];
      const ByteSlot slot = table_.probe_inline(next.key, next.hash);
      if (table_.used(slot)) [[likely]] {
        merge_(table_.value(slot), next.value);
      } else {
        insert({next.key, next.hash, {}}, next.value);
      }
    }
  }

  // The queue first, since the order of first occurrence must hold; the key's bytes need not outlive this call.
  [[gnu::noinline]] void add_long(std::string_view key, Passed value) {
    flush();
    insert(HashedKey::of(key), value);
  }

  // Flattened, since otherwise it depends on the rest of the job how fast this is.
  [[gnu::noinline, gnu::flatten]] void insert(const HashedKey& key, Passed value) {
    const auto [slot, inserted] = table_.find_or_insert(key, [this] {
      const std::vector<ByteSlot> moved = table_.rebuild();
      for (ByteSlot& kept : order_) kept = moved[kept];
    });
    if (inserted) {
      table_.value(slot) = value;
      order_.push_back(slot);
    } else {
      merge_(table_.value(slot), value);
    }
  }

  [[no_unique_address]] Merge merge_;
  ByteTable<Value> table_{1024};
  std::vector<ByteSlot> order_;
  // Two halves, filled in turn; each is combined when the next one is full, so in the order of add().
  std::array<Queued, 2 * kDepth> queue_;
  size_t queued_ = 0;         // the position of the next one
  bool older_waits_ = false;  // the half that is not being filled
};

// Which bytes of a key say in which state partition it is: all of them, unless its type says otherwise.
struct WholeKey {
  static std::string_view of(std::string_view key) { return key; }
};
template <typename K>
struct RouteOf {
  using type = WholeKey;
};

// Combines pairs and writes them as sections.
template <typename Value, typename Merge, typename Route>
class PairEdge : public MapNode, public EdgeWriter {
 public:
  PairEdge(int32_t state_partitions, Merge merge) : state_partitions_(state_partitions), combiner_(std::move(merge)) {}

  int64_t take_emitted() override { return std::exchange(emitted_, 0); }

  void measure(std::span<uint64_t> bytes) override {
    combiner_.flush();
    const ByteTable<Value>& table = combiner_.table();
    pairs_.assign(bytes.size(), 0);
    partition_of_.resize(combiner_.order().size());
    size_t next = 0;
    table.visit(combiner_.order(), [&](ByteSlot slot) {
      const std::string_view key = table.key(slot);
      const auto partition = static_cast<uint32_t>(state_partition_of(Route::of(key), state_partitions_).value());
      partition_of_[next++] = partition;
      ++pairs_[partition];
      bytes[partition] += varint_size(key.size()) + key.size() + Codec<Value>::size(table.value(slot));
    });
    for (size_t p = 0; p < bytes.size(); ++p) {
      if (pairs_[p] != 0) bytes[p] += varint_size(pairs_[p]);
    }
  }

  void write(std::span<char*> out) override {
    const ByteTable<Value>& table = combiner_.table();
    for (size_t p = 0; p < out.size(); ++p) {
      if (pairs_[p] != 0) out[p] = put_varint(out[p], pairs_[p]);
    }
    size_t next = 0;
    table.visit(combiner_.order(), [&](ByteSlot slot) {
      const std::string_view key = table.key(slot);
      char*& to = out[partition_of_[next++]];
      to = put_varint(to, key.size());
      std::memcpy(to, key.data(), key.size());
      to = Codec<Value>::encode(to + key.size(), table.value(slot));
    });
  }

  void clear() override {
    combiner_.clear();
    emitted_ = 0;
  }

 protected:
  PairCombiner<Value, Merge>& combiner() { return combiner_; }
  void count_emitted(int64_t pairs) { emitted_ += pairs; }

 private:
  const int32_t state_partitions_;
  PairCombiner<Value, Merge> combiner_;
  int64_t emitted_ = 0;
  std::vector<uint64_t> pairs_;         // from measure() to write(), by partition
  std::vector<uint32_t> partition_of_;  // the same, by the combiner's order
};

// The whole map of a job that never takes anything back: from the log's records to combined pairs in one loop.
template <typename Chain, typename K, typename Value, typename Merge>
class DirectPairs final : public PairEdge<Value, Merge, typename RouteOf<K>::type>, public DirectConsumer {
  static_assert(Chain::kDirect);
  using Edge = PairEdge<Value, Merge, typename RouteOf<K>::type>;

 public:
  DirectPairs(int32_t state_partitions, Chain chain, Merge merge)
      : Edge(state_partitions, std::move(merge)), chain_(std::move(chain)) {}

  void consume(Record record, OffsetRange range, int64_t max_record_bytes, RecordCursor& records,
               MapReport& report) override {
    int64_t emitted = 0;
    RecordScope scope;
    while (records.next(record)) {
      if (!range.contains(record.offset)) continue;
      ++report.records;
      if (static_cast<int64_t>(record.value.size()) > max_record_bytes) [[unlikely]] {
        report.add_dead_letter(record.offset, record.timestamp_ms, too_long(max_record_bytes));
        continue;
      }
      chain_(record, scope, [this, &emitted](const auto& pair) __attribute__((always_inline)) {
        this->combiner().add(KeyText<K>::view(pair.first, buffer_), pair.second);
        ++emitted;
      });
      if (scope.refused()) [[unlikely]]
        report.add_dead_letter(record.offset, record.timestamp_ms, scope.take_problem());
    }
    this->count_emitted(emitted);
  }

 private:
  Chain chain_;
  KeyBuffer buffer_;
};

// Values of In, through the chain, as pairs, which are held back until it is known whether their record is refused.
template <typename In, typename Chain, typename K, typename Value, typename Merge>
class HeldPairs final : public PairEdge<Value, Merge, typename RouteOf<K>::type>, public Consumer<In> {
  using Edge = PairEdge<Value, Merge, typename RouteOf<K>::type>;

 public:
  HeldPairs(int32_t state_partitions, Chain chain, Merge merge)
      : Edge(state_partitions, std::move(merge)), chain_(std::move(chain)) {}

  void consume(std::span<const In> values, std::span<const uint32_t> records, Verdicts& verdicts) override {
    run_chain(chain_, values, records, verdicts, [this](uint32_t record, const auto& pair) {
      const std::string_view key = KeyText<K>::view(pair.first, buffer_);
      held_.push_back({record, static_cast<uint32_t>(key.size()), keys_.size(), pair.second});
      keys_ += key;
    });
  }

  void commit(const Verdicts& verdicts) override {
    for (const Held& held : held_) {
      if (verdicts.refused(held.record)) continue;
      this->combiner().add(std::string_view(keys_).substr(held.key, held.key_size), held.value);
      this->count_emitted(1);
    }
    held_.clear();
    keys_.clear();
  }

  void clear() override {
    Edge::clear();
    held_.clear();
    keys_.clear();
  }

 private:
  struct Held {
    uint32_t record;
    uint32_t key_size;
    size_t key;  // in keys_
    Value value;
  };

  Chain chain_;
  KeyBuffer buffer_;
  std::vector<Held> held_;
  std::string keys_;
};

}  // namespace millrace::internal
