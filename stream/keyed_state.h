// KeyedStateTable: the values of one state partition in memory, with what is needed to look back, to checkpoint and
// to publish only what changed. Owned by one lane and used by its thread only.
//
// Looking back: each batch has a list of the values that it replaced, one per key. Entries are numbered through all
// batches; a slot names the newest entry of its key, and each entry the one before it. So read() walks at most one
// entry per batch, whatever the lists hold, and the lists need no care when the table grows.
//
// Keys changed since the last freeze and since the last publication are lists of slots with a flag in the slot, so a
// key stands once in each. Keys are never removed.
#pragma once

#include <array>
#include <deque>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/text.h"
#include "stream/byte_table.h"
#include "stream/codec.h"
#include "stream/job.h"
#include "stream/top_keys.h"
#include "stream/varint.h"

namespace millrace::internal {

// `Merge`: void(Value& into, const Value& from), associative and commutative.
template <typename Value, typename Merge>
class KeyedStateTable final : public StateTable {
  static_assert(std::is_trivially_copyable_v<Value>);

 public:
  // `rank_size` 0: no rank.
  explicit KeyedStateTable(size_t rank_size, Merge merge = {})
      : merge_(std::move(merge)), rank_size_(rank_size), top_(rank_size) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    const BatchId batch = context.batch;
    CHECK_GT(batch.value(), newest_.value()) << "batches must be applied in order, each once";
    newest_ = batch;
    undo_.push_back({batch, next_entry_, {}});
    for (size_t index = 0; index < sections.size(); ++index) {
      const char* at = sections[index].data();
      if (!apply_section(at, at + sections[index].size())) {
        return fail(ErrorCode::kCorrupt, "section " + std::to_string(index) + " of batch " +
                                             std::to_string(batch.value()) + " does not parse near byte " +
                                             std::to_string(at - sections[index].data()) +
                                             "; the partition must be restored");
      }
    }
    changed_by_newest_ = !undo_.back().entries.empty();
    if (!changed_by_newest_) undo_.pop_back();
    return {};
  }

  [[nodiscard]] bool changed() const override { return changed_by_newest_; }

  [[nodiscard]] std::optional<std::string> read(std::string_view key, BatchId at) const override {
    CHECK_GE(at.value(), forgotten_.value()) << "old values up to this batch were forgotten";
    const ByteSlot slot = table_.find(HashedKey::of(key));
    if (slot == kNoByteSlot) return std::nullopt;
    const Cell& cell = table_.value(slot);
    const Value* value = &cell.value;
    uint64_t entry = cell.newest_entry();
    for (auto undo = undo_.rbegin(); undo != undo_.rend() && undo->batch > at; ++undo) {
      if (entry < undo->first_entry) continue;
      const OldValue& old = undo->entries[entry - undo->first_entry];
      if (old.previous_entry == kAbsent) return std::nullopt;
      value = &old.value;
      entry = old.previous_entry;
    }
    return text_of(*value);
  }

  void forget_undo(BatchId applied) override {
    forgotten_ = std::max(forgotten_, applied);
    while (!undo_.empty() && undo_.front().batch <= applied) undo_.pop_front();
  }

  void freeze(StatePartition self, StateRun& run) override {
    CHECK(!freeze_open_) << "a freeze is open already";
    freeze_open_ = true;
    frozen_.swap(changed_);
    std::string encoded;
    table_.visit(frozen_, [&](ByteSlot slot) {
      Cell& cell = table_.value(slot);
      cell.flags_and_entry &= ~kChanged;
      encoded.resize(Codec<Value>::size(cell.value));
      Codec<Value>::encode(encoded.data(), cell.value);
      run.add(self, table_.key(slot), encoded);
    });
  }

  // Without an open freeze nothing happens.
  void settle_freeze(bool complete) override {
    freeze_open_ = false;
    if (!complete) {
      for (const ByteSlot slot : frozen_) mark(slot, kChanged, changed_);
    }
    std::vector<ByteSlot>().swap(frozen_);
  }

  Status restore(const StateRun::Entry& entry, bool unpublished) override {
    CHECK(undo_.empty()) << "a table that has applied batches cannot be restored";
    Value value{};
    const char* at = entry.value.data();
    const char* end = at + entry.value.size();
    if (entry.removed || !Codec<Value>::decode(at, end, value) || at != end) {
      return fail(ErrorCode::kCorrupt, "the checkpoint's value of key '" + printable(entry.key.substr(0, 64)) +
                                           "' does not parse (" + std::to_string(entry.value.size()) +
                                           " bytes); was it written by another type of job?");
    }
    const ByteSlot slot = find_or_insert(HashedKey::of(entry.key)).slot;
    table_.value(slot).value = value;
    if (unpublished) mark(slot, kUnpublished, unpublished_);
    if (rank_size_ != 0) note_rank(slot);
    return {};
  }

  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override {
    CHECK(publication_ == OpenPublication::kNone) << "a publication is open already";
    publication_ = all ? OpenPublication::kAll : OpenPublication::kChanged;
    publishing_.swap(unpublished_);
    table_.visit(publishing_, [&](ByteSlot slot) { table_.value(slot).flags_and_entry &= ~kUnpublished; });
    if (!all) return sink_entries(publishing_);
    std::vector<SinkEntry> entries;
    entries.reserve(table_.size());
    Ranking{table_}.for_each([&](ByteSlot slot) { entries.push_back(sink_entry(slot)); });
    return entries;
  }

  // After a publication of all keys that failed, all of them count as unpublished.
  void settle_publication(bool done) override {
    if (!done && publication_ == OpenPublication::kAll) {
      Ranking{table_}.for_each([&](ByteSlot slot) { mark(slot, kUnpublished, unpublished_); });
    } else if (!done) {
      for (const ByteSlot slot : publishing_) mark(slot, kUnpublished, unpublished_);
    }
    publication_ = OpenPublication::kNone;
    publishing_.clear();
  }

  [[nodiscard]] std::vector<SinkEntry> top(size_t n) override {
    if (rank_size_ == 0) return {};
    Ranking ranking{table_};
    return sink_entries(top_.top(ranking, n));
  }

  [[nodiscard]] std::vector<SinkEntry> top_above(size_t n, double at_least) override {
    if (rank_size_ == 0) return {};
    Ranking ranking{table_};
    return sink_entries(top_.top_above(ranking, n, at_least));
  }

  [[nodiscard]] int64_t keys() const override { return static_cast<int64_t>(table_.size()); }

  [[nodiscard]] int64_t memory_bytes() const override {
    size_t bytes = sizeof(*this) + table_.memory_bytes() + top_.memory_bytes();
    bytes += (changed_.capacity() + frozen_.capacity() + unpublished_.capacity() + publishing_.capacity()) *
             sizeof(ByteSlot);
    for (const Undo& undo : undo_) bytes += sizeof(undo) + undo.entries.capacity() * sizeof(OldValue);
    return static_cast<int64_t>(bytes);
  }

 private:
  static constexpr uint64_t kChanged = 1;      // stands in changed_
  static constexpr uint64_t kUnpublished = 2;  // stands in unpublished_
  static constexpr uint64_t kCandidate = 4;    // is a candidate of top_
  static constexpr uint64_t kFresh = 8;        // is a fresh candidate of top_
  static constexpr uint64_t kFlags = 15;
  static constexpr int kFlagBits = 4;
  static constexpr uint64_t kAbsent = std::numeric_limits<uint64_t>::max();

  struct Cell {
    Value value;
    uint64_t flags_and_entry;  // the flags above; the number of the key's newest undo entry, 0: none

    [[nodiscard]] uint64_t newest_entry() const { return flags_and_entry >> kFlagBits; }
  };
  struct OldValue {
    uint64_t previous_entry;  // of the same key; kAbsent: the key was not there
    Value value;
  };
  struct Undo {
    BatchId batch;
    uint64_t first_entry;  // the number of entries[0]
    std::vector<OldValue> entries;
  };
  using Table = ByteTable<Cell>;
  enum class OpenPublication { kNone, kChanged, kAll };

  struct Ranking {
    Table& table;

    [[nodiscard]] double score(ByteSlot slot) const { return score_of(table.value(slot).value); }
    [[nodiscard]] std::string_view key(ByteSlot slot) const { return table.key(slot); }
    [[nodiscard]] size_t size() const { return table.size(); }
    [[nodiscard]] bool candidate(ByteSlot slot) const { return (table.value(slot).flags_and_entry & kCandidate) != 0; }
    [[nodiscard]] bool fresh(ByteSlot slot) const { return (table.value(slot).flags_and_entry & kFresh) != 0; }
    void set_candidate(ByteSlot slot, bool on) { set(slot, kCandidate, on); }
    void set_fresh(ByteSlot slot, bool on) { set(slot, kFresh, on); }
    void set(ByteSlot slot, uint64_t flag, bool on) {
      uint64_t& flags = table.value(slot).flags_and_entry;
      flags = on ? flags | flag : flags & ~flag;
    }
    template <typename Function>
    void for_each(Function&& function) const {
      for (size_t slot = 0; slot < table.capacity(); ++slot) {
        if (table.used(static_cast<ByteSlot>(slot))) function(static_cast<ByteSlot>(slot));
      }
    }
  };

  // Pairs are applied in groups: first all are parsed and their slots prefetched, then all are merged.
  bool apply_section(const char*& at, const char* end) {
    constexpr size_t kGroup = 32;
    struct Pair {
      HashedKey key;
      Value value;
    };
    std::array<Pair, kGroup> group;
    uint64_t pairs = 0;
    if (!get_varint(at, end, pairs)) return false;
    while (pairs != 0) {
      const size_t size = std::min<uint64_t>(pairs, kGroup);
      for (size_t i = 0; i < size; ++i) {
        uint64_t key_size = 0;
        if (!get_varint(at, end, key_size) || key_size > static_cast<uint64_t>(end - at)) return false;
        group[i].key = HashedKey::of(std::string_view(at, key_size));
        at += key_size;
        group[i].value = Value{};
        if (!Codec<Value>::decode(at, end, group[i].value)) return false;
        table_.prefetch(group[i].key.hash);
      }
      for (size_t i = 0; i < size; ++i) change(group[i].key, group[i].value);
      pairs -= size;
    }
    return at == end;
  }

  void change(const HashedKey& key, const Value& by) {
    const auto [slot, inserted] = find_or_insert(key);
    Cell& cell = table_.value(slot);
    Undo& undo = undo_.back();
    if (cell.newest_entry() < undo.first_entry) {  // Not yet changed by this batch.
      undo.entries.push_back({inserted ? kAbsent : cell.newest_entry(), cell.value});
      cell.flags_and_entry = (next_entry_++ << kFlagBits) | (cell.flags_and_entry & kFlags);
    }
    if (inserted) {
      cell.value = by;
    } else {
      merge_(cell.value, by);
    }
    mark(slot, kChanged, changed_);
    mark(slot, kUnpublished, unpublished_);
    if (rank_size_ != 0) note_rank(slot);
  }

  typename Table::Found find_or_insert(const HashedKey& key) {
    return table_.find_or_insert(key, [this](std::span<const ByteSlot> moved) {
      for (std::vector<ByteSlot>* slots : {&changed_, &frozen_, &unpublished_, &publishing_}) {
        for (ByteSlot& slot : *slots) slot = moved[slot];
      }
      top_.remap(moved);
    });
  }

  void mark(ByteSlot slot, uint64_t flag, std::vector<ByteSlot>& slots) {
    uint64_t& flags = table_.value(slot).flags_and_entry;
    if ((flags & flag) != 0) return;
    flags |= flag;
    slots.push_back(slot);
  }

  void note_rank(ByteSlot slot) {
    Ranking ranking{table_};
    top_.note(ranking, slot);
  }

  [[nodiscard]] SinkEntry sink_entry(ByteSlot slot) const {
    const Value& value = table_.value(slot).value;
    return {std::string(table_.key(slot)), text_of(value), score_of(value), false};
  }

  [[nodiscard]] std::vector<SinkEntry> sink_entries(std::span<const ByteSlot> slots) const {
    std::vector<SinkEntry> entries;
    entries.reserve(slots.size());
    table_.visit(slots, [&](ByteSlot slot) { entries.push_back(sink_entry(slot)); });
    return entries;
  }

  [[no_unique_address]] const Merge merge_;
  const size_t rank_size_;
  Table table_;
  BatchId newest_;  // applied
  bool changed_by_newest_ = false;
  BatchId forgotten_;      // as passed to forget_undo
  std::deque<Undo> undo_;  // ascending by batch; batches that changed nothing have none
  uint64_t next_entry_ = 1;
  bool freeze_open_ = false;
  std::vector<ByteSlot> changed_;      // since the last freeze
  std::vector<ByteSlot> frozen_;       // of the open freeze
  std::vector<ByteSlot> unpublished_;  // since the last publication
  OpenPublication publication_ = OpenPublication::kNone;
  std::vector<ByteSlot> publishing_;  // of the open publication
  TopKeys<Ranking> top_;
};

}  // namespace millrace::internal
