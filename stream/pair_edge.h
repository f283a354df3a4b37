// PairEdge: the end of a chain of pairs: equal keys are combined at once, so that what leaves the map is one pair per
// distinct key. Owned by one lane and used by its thread only.
//
// A piece of a section is drawn in stream/pair_section.h. Each key occurs once in a piece. Pairs stand in the order in
// which the map saw their keys first, so that the bytes depend on the records alone: not on the borders of chunks, nor
// on how large the map's table had grown before.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "stream/chain.h"
#include "stream/codec.h"
#include "stream/combine_table.h"
#include "stream/graph.h"
#include "stream/sums.h"
#include "stream/varint.h"

namespace millrace::internal {

// Pairs combined by key. Additions of short keys wait in a queue while what they need is on its way into the cache.
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
    queue_[queued_++ % kQueue] = {words, hash, value};
    if (queued_ % kDepth == 0) turn();
  }

  void flush() {
    guess_until(queued_);
    combine_until(queued_);
  }

  // After a flush.
  [[nodiscard]] const CombineTable<Value>& table() const { return table_; }

  void clear() {
    combined_ = guessed_ = queued_;
    table_.clear();
  }

 private:
  using Number = typename CombineTable<Value>::Number;
  static constexpr size_t kDepth = 16;
  static constexpr size_t kQueue = 4 * kDepth;

  struct Queued {
    ByteKey key;
    uint64_t hash;
    Value value;
  };

  // So many more are queued: what was guessed at the last turn has had time to arrive, and what was queued then, too.
  [[gnu::noinline]] void turn() {
    combine_until(guessed_);
    guess_until(queued_ - kDepth);
  }

  void guess_until(uint64_t end) {
    for (uint64_t i = guessed_; i < end; ++i) guesses_[i % kQueue] = table_.guess(queue_[i % kQueue].hash);
    guessed_ = std::max(guessed_, end);
  }

  void combine_until(uint64_t end) {
    for (uint64_t i = combined_; i < end; ++i) {
      const Queued& next = queue_[i % kQueue];
      const Number guess = guesses_[i % kQueue];
      if (guess != CombineTable<Value>::kNone && table_.is(guess, next.key)) [[likely]] {
        merge_(table_.value(guess), next.value);
      } else {
        insert({next.key, next.hash, {}}, next.value);
      }
    }
    combined_ = end;
  }

  // The queue first, since the order of first occurrence must hold; the key's bytes need not outlive this call.
  [[gnu::noinline]] void add_long(std::string_view key, Passed value) {
    flush();
    insert(HashedKey::of(key), value);
  }

  // Flattened, since otherwise it depends on the rest of the job how fast this is.
  [[gnu::noinline, gnu::flatten]] void insert(const HashedKey& key, Passed value) {
    const auto [number, inserted] = table_.find_or_insert(key);
    if (inserted) {
      table_.value(number) = value;
    } else {
      merge_(table_.value(number), value);
    }
  }

  [[no_unique_address]] Merge merge_;
  CombineTable<Value> table_;
  // In the order of add(); each is named by how many were queued before.
  std::array<Queued, kQueue> queue_;
  std::array<Number, kQueue> guesses_;
  uint64_t combined_ = 0;
  uint64_t guessed_ = 0;
  uint64_t queued_ = 0;
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
    const CombineTable<Value>& table = combiner_.table();
    pairs_.assign(bytes.size(), 0);
    partition_of_.resize(table.size());
    for (uint32_t i = 0; i < table.size(); ++i) {
      const std::string_view key = table.key(i);
      const auto partition = static_cast<uint32_t>(state_partition_of(Route::of(key), state_partitions_).value());
      partition_of_[i] = partition;
      ++pairs_[partition];
      bytes[partition] += varint_size(key.size()) + key.size() + Codec<Value>::size(table.value(i));
    }
    for (size_t p = 0; p < bytes.size(); ++p) {
      if (pairs_[p] != 0) bytes[p] += varint_size(pairs_[p]);
    }
  }

  void write(std::span<char*> out) override {
    const CombineTable<Value>& table = combiner_.table();
    for (size_t p = 0; p < out.size(); ++p) {
      if (pairs_[p] != 0) out[p] = put_varint(out[p], pairs_[p]);
    }
    for (uint32_t i = 0; i < table.size(); ++i) {
      const std::string_view key = table.key(i);
      char*& to = out[partition_of_[i]];
      to = put_varint(to, key.size());
      std::memcpy(to, key.data(), key.size());
      to = Codec<Value>::encode(to + key.size(), table.value(i));
    }
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
  std::vector<uint32_t> partition_of_;  // the same, of each entry
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

template <typename Value>
struct HeldPair {
  uint32_t record;
  uint32_t key_size;
  size_t key;  // where it begins in the text of keys
  Value value;
};

// Pairs that are held back until it is known whether their record is refused.
template <typename Value, typename Merge, typename Route>
class HoldingEdge : public PairEdge<Value, Merge, Route> {
  using Edge = PairEdge<Value, Merge, Route>;

 public:
  using Edge::Edge;

  void commit(const Verdicts& verdicts) override {
    for (const HeldPair<Value>& held : held_) {
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

 protected:
  void hold(uint32_t record, std::string_view key, const Value& value) {
    held_.push_back({record, static_cast<uint32_t>(key.size()), keys_.size(), value});
    keys_ += key;
  }

 private:
  std::vector<HeldPair<Value>> held_;
  std::string keys_;
};

// Values of In, through the chain, as pairs.
template <typename In, typename Chain, typename K, typename Value, typename Merge>
class HeldPairs final : public HoldingEdge<Value, Merge, typename RouteOf<K>::type>, public Consumer<In> {
  using Edge = HoldingEdge<Value, Merge, typename RouteOf<K>::type>;

 public:
  HeldPairs(int32_t state_partitions, Chain chain, Merge merge)
      : Edge(state_partitions, std::move(merge)), chain_(std::move(chain)) {}

  void consume(std::span<const In> values, std::span<const uint32_t> records, Verdicts& verdicts) override {
    run_chain(chain_, values, records, verdicts, [this](uint32_t record, const auto& pair) {
      this->hold(record, KeyText<K>::view(pair.first, buffer_), pair.second);
    });
  }

 private:
  Chain chain_;
  KeyBuffer buffer_;
};

}  // namespace millrace::internal
