// KeyedMapTask: walks record batches, calls the job's function for each record, and combines equal keys at once, so
// that what leaves it is one pair per distinct key. Owned by one lane and used by its thread only.
//
// Records with a null value (Kafka's tombstones) count as processed and emit nothing. Control batches are skipped.
#pragma once

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stream/byte_table.h"
#include "stream/job.h"
#include "stream/keyed_definition.h"
#include "stream/varint.h"

namespace millrace {

struct KeyedMapLimits {
  int32_t state_partitions = 64;
  int64_t max_record_bytes = 1 << 20;
};

// Pairs combined by key, remembered in the order in which keys came first. Additions of short keys wait in a queue
// behind the prefetch of their slot, so that the misses of a table larger than the caches overlap.
template <KeyedDefinition D>
class PairCombiner {
 public:
  using Value = typename D::Value;

  void add(std::string_view key, const Value& value) {
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
        D::merge(table_.value(slot), next.value);
      } else {
        insert({next.key, next.hash, {}}, next.value);
      }
    }
  }

  // The queue first, since the order of first occurrence must hold; the key's bytes need not outlive this call.
  [[gnu::noinline]] void add_long(std::string_view key, const Value& value) {
    flush();
    insert(HashedKey::of(key), value);
  }

  [[gnu::noinline]] void insert(const HashedKey& key, const Value& value) {
    const auto [slot, inserted] = table_.find_or_insert(key, [this](std::span<const ByteSlot> moved) {
      for (ByteSlot& kept : order_) kept = moved[kept];
    });
    if (inserted) {
      table_.value(slot) = value;
      order_.push_back(slot);
    } else {
      D::merge(table_.value(slot), value);
    }
  }

  ByteTable<Value> table_{1024};
  std::vector<ByteSlot> order_;
  // Two halves, filled in turn; each is combined when the next one is full, so in the order of add().
  std::array<Queued, 2 * kDepth> queue_;
  size_t queued_ = 0;         // the position of the next one
  bool older_waits_ = false;  // the half that is not being filled
};

template <KeyedDefinition D>
class KeyedMapTask final : public MapTask {
 public:
  using Value = typename D::Value;
  using Function = decltype(std::declval<const D&>().make_function());

  KeyedMapTask(const D& definition, const KeyedMapLimits& limits)
      : limits_(limits), function_(definition.make_function()) {}

  // After kCorrupt all pairs since the last finish() are forgotten.
  Status map(LogPartition partition, OffsetRange range, std::string_view bytes, MapReport& report) override {
    RecordBatchCursor batches(bytes);
    for (RecordBatchView batch; batches.next(batch);) {
      if (batch.is_control() || batch.last_offset() < range.from || batch.base_offset() >= range.to) continue;
      RecordCursor records(batch);
      map_batch(partition, range, records, report);
      if (Status status = records.status(); !status) {
        combiner_.clear();
        return status;
      }
    }
    Status status = batches.status();
    if (!status) combiner_.clear();
    return status;
  }

  std::vector<ShuffleBlock::Section> finish() override {
    combiner_.flush();
    std::vector<ShuffleBlock::Section> sections = write_sections();
    combiner_.clear();
    return sections;
  }

 private:
  struct Emitter {
    PairCombiner<D>& combiner;
    int64_t emitted = 0;

    void operator()(std::string_view key, const Value& value) {
      combiner.add(key, value);
      ++emitted;
    }
  };

  void map_batch(LogPartition partition, OffsetRange range, RecordCursor& records, MapReport& report) {
    Emitter emit{combiner_};
    InputRecord record;
    record.partition = partition;
    while (records.next(record)) {
      if (!range.contains(record.offset)) continue;
      ++report.records;
      if (!record.has_value) continue;
      if (static_cast<int64_t>(record.value.size()) > limits_.max_record_bytes) [[unlikely]] {
        report.add_dead_letter(record.offset, record.timestamp_ms,
                               "longer than " + std::to_string(limits_.max_record_bytes) + " bytes");
        continue;
      }
      const int64_t before = emit.emitted;
      if (RecordProblem problem = function_(std::as_const(record), emit)) [[unlikely]] {
        CHECK_EQ(before, emit.emitted) << "a job's function emitted pairs of a record and then refused it";
        report.add_dead_letter(record.offset, record.timestamp_ms, std::move(*problem));
      }
    }
    report.emitted += emit.emitted;
  }

  struct SectionSize {
    uint64_t pairs = 0;
    uint64_t bytes = 0;
    char* at = nullptr;
  };

  std::vector<ShuffleBlock::Section> write_sections() {
    const ByteTable<Value>& table = combiner_.table();
    std::vector<SectionSize> sizes(static_cast<size_t>(limits_.state_partitions));
    std::vector<uint32_t> partition_of(combiner_.order().size());
    size_t next = 0;
    table.visit(combiner_.order(), [&](ByteSlot slot) {
      const std::string_view key = table.key(slot);
      const auto partition = static_cast<uint32_t>(state_partition_of(key, limits_.state_partitions).value());
      partition_of[next++] = partition;
      ++sizes[partition].pairs;
      sizes[partition].bytes += varint_size(key.size()) + key.size() + D::encoded_size(table.value(slot));
    });

    size_t total = 0;
    for (SectionSize& size : sizes) {
      if (size.pairs != 0) size.bytes += varint_size(size.pairs);
      total += size.bytes;
    }
    auto buffer = std::make_shared<std::string>();
    buffer->resize(total);
    std::vector<ShuffleBlock::Section> sections;
    char* at = buffer->data();
    for (size_t partition = 0; partition < sizes.size(); ++partition) {
      SectionSize& size = sizes[partition];
      if (size.pairs == 0) continue;
      sections.push_back(
          {StatePartition(static_cast<int32_t>(partition)), SharedBuffer(buffer, std::string_view(at, size.bytes))});
      size.at = put_varint(at, size.pairs);
      at += size.bytes;
    }

    next = 0;
    table.visit(combiner_.order(), [&](ByteSlot slot) {
      const std::string_view key = table.key(slot);
      char*& out = sizes[partition_of[next++]].at;
      out = put_varint(out, key.size());
      std::memcpy(out, key.data(), key.size());
      out = D::encode(out + key.size(), table.value(slot));
    });
    return sections;
  }

  const KeyedMapLimits limits_;
  Function function_;
  PairCombiner<D> combiner_;
};

}  // namespace millrace
