// VersionedTable: the values of one state partition in memory, with what is needed to look back, to checkpoint and to
// publish only what changed. What stands behind an aggregation derives from it and says what a batch does. Owned by one
// lane and used by its thread only.
//
// A value that is trivially copyable lies in its key's cell, any other one on the heap.
//
// Looking back: each batch has a list of the values that it replaced, one per key. Entries are numbered through all
// batches; a cell names the newest entry of its key, and each entry the one before it. So read() walks at most one
// entry per batch, whatever the lists hold, and the lists need no care when the table is rebuilt.
//
// Keys changed since the last freeze and since the last publication are lists of slots with a flag in the cell, so a
// key stands once in each.
//
// A freeze takes the list of changed keys and reads their values later, as of its batch: old values are kept as long.
// Two flags for changed keys take turns, since one stays at the keys that a freeze has still to read.
//
// A removed key stays as a dead cell as long as a list, the rank, or an old value names it: its removal has to be
// written and published, and a key that comes back goes on in its cell. Other dead cells are dropped when the table is
// full, or when they are more than half of it.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "stream/byte_table.h"
#include "stream/changes.h"
#include "stream/codec.h"
#include "stream/frozen_slots.h"
#include "stream/job.h"
#include "stream/layout.h"
#include "stream/show.h"
#include "stream/stored_value.h"
#include "stream/top_keys.h"

namespace millrace::internal {

// kCorrupt.
Status unreadable_value(const StateRun::Entry& entry);
// The slots, ascending by their keys.
std::vector<ByteSlot> slots_by_key(std::vector<std::pair<std::string_view, ByteSlot>> keys);

// The key whose value was being changed when the job's code threw; empty: none is known. For people.
struct ThrewAt {
  std::string key_thrown_at;
};

// `kCheckpointed` false: what derives keeps something else in checkpoints, of which the values can be made anew.
// `kLooksBack` false: it is never read nor followed, so no old values are kept.
template <typename V, bool kCheckpointed = true, bool kLooksBack = true>
class VersionedTable : public StateTable,
                       public ShowsMapped,
                       public ThrewAt,
                       public Followed<typename ShownPart<V>::type> {
  using Part = ShownPart<V>;
  using Stored = std::conditional_t<std::is_trivially_copyable_v<V>, InCell<V>, OnHeap<V>>;

 public:
  // `rank_size` 0: no rank.
  explicit VersionedTable(size_t rank_size) : rank_size_(rank_size), top_(rank_size) {}
  void show_by(std::shared_ptr<const AnyShow> show) override { show_ = std::move(show); }
  ~VersionedTable() override {
    if constexpr (!std::is_trivially_copyable_v<V>) {
      for_each_live([this](ByteSlot slot) { table_.value(slot).stored.drop(); });
    }
  }
  VersionedTable(const VersionedTable&) = delete;
  VersionedTable& operator=(const VersionedTable&) = delete;

  [[nodiscard]] std::optional<std::string> read(std::string_view key, BatchId at) const override {
    const ByteSlot slot = table_.find(HashedKey::of(key));
    const V* const value = slot == kNoByteSlot ? nullptr : value_at(slot, at);
    return value == nullptr ? std::nullopt : std::optional(text(*value));
  }

  void forget_undo(BatchId applied) override {
    if (!frozen_.unread().empty()) applied = std::min(applied, frozen_.at());
    forgotten_ = std::max(forgotten_, applied);
    while (!undo_.empty() && undo_.front().batch <= applied) undo_.pop_front();
  }

  void freeze(StatePartition self, StateRun& run) override {
    frozen_.open(std::max(newest_, forgotten_), std::exchange(changed_, {}));
    changed_flag_ ^= kChangedFlags;
    if constexpr (!kLooksBack) freeze_more(self, run, SIZE_MAX);
  }
  bool freeze_more(StatePartition self, StateRun& run, size_t keys) override {
    std::string encoded;
    table_.visit(frozen_.read(keys), [&](ByteSlot slot) {
      table_.value(slot).bits &= ~frozen_flag();
      const V* const value = value_at(slot, frozen_.at());
      encoded.resize(value == nullptr ? 0 : Codec<V>::size(*value));
      if (value != nullptr) Codec<V>::encode(encoded.data(), *value);
      run.add(self, table_.key(slot), encoded, value == nullptr);
    });
    return !frozen_.unread().empty();
  }
  void settle_freeze(bool complete) override {
    for (const ByteSlot slot : frozen_.unread()) table_.value(slot).bits &= ~frozen_flag();
    for (const ByteSlot slot : frozen_.close()) {
      if (!complete) mark(slot, changed_flag_, changed_);
    }
  }

  Status restore(const StateRun::Entry& entry, bool unpublished) override {
    CHECK(undo_.empty()) << "a table that has applied batches cannot be restored";
    const ByteSlot slot = open(HashedKey::of(entry.key));
    Cell& cell = table_.value(slot);
    if (entry.removed) {
      end_life(cell);
    } else {
      begin_life(cell);
      const char* at = entry.value.data();
      const char* end = at + entry.value.size();
      if (!Codec<V>::decode(at, end, cell.stored.get()) || at != end) return unreadable_value(entry);
    }
    if (unpublished) mark(slot, kUnpublished, unpublished_);
    if (restored_is_changed_) mark(slot, changed_flag_, changed_);
    note_rank(slot);
    return {};
  }
  Status restore_from(const std::vector<StatePlan>& /*stored*/) override {
    restored_is_changed_ = true;
    return {};
  }

  [[nodiscard]] std::string layout() const override { return layout_of<V>(); }
  [[nodiscard]] std::optional<std::string> checkpoint_prefix(size_t /*table*/) const override {
    return kCheckpointed ? std::optional<std::string>("") : std::nullopt;
  }
  [[nodiscard]] bool changed() const override { return changed_by_newest_; }
  [[nodiscard]] bool must_publish_all() const override { return removals_forgotten_; }
  void follow() override { followed_ = true; }
  [[nodiscard]] std::vector<ByteSlot> touched() const override {
    std::vector<std::pair<std::string_view, ByteSlot>> keys;
    keys.reserve(touched_.size());
    for (const ByteSlot slot : touched_) keys.emplace_back(table_.key(slot), slot);
    return slots_by_key(std::move(keys));
  }
  [[nodiscard]] typename Followed<typename Part::type>::Difference difference(ByteSlot slot) const override {
    const Cell& cell = table_.value(slot);
    const OldValue& old = undo_.back().entries[(cell.bits >> kEntryShift) - undo_.back().first_entry];
    const auto* before = (old.version & 1) == 0 ? nullptr : &Part::of(Stored::old(old.value));
    return {table_.key(slot), before, cell.live() ? &Part::of(cell.stored.get()) : nullptr};
  }

  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override {
    open_publication(all);
    if (!all) return sink_entries(publishing_);
    std::vector<SinkEntry> entries;
    entries.reserve(live_);
    for_each_live([&](ByteSlot slot) { add_entry(slot, entries); });
    return entries;
  }

  // After a publication of all keys that failed, all of them count as unpublished.
  void settle_publication(bool done) override {
    if (!done) {
      for (const ByteSlot slot : publishing_) mark(slot, kUnpublished, unpublished_);
      if (publication_ == OpenPublication::kAll) {
        for_each_live([&](ByteSlot slot) { mark(slot, kUnpublished, unpublished_); });
        removals_forgotten_ = removals_forgotten_ || publication_covers_forgotten_;
      }
    }
    publication_covers_forgotten_ = false;
    publication_ = OpenPublication::kNone;
    publishing_.clear();
  }

  [[nodiscard]] std::vector<SinkEntry> top(size_t n) override {
    if (rank_size_ == 0) return {};
    Ranking ranking(*this);
    return sink_entries(top_.top(ranking, n));
  }

  [[nodiscard]] std::vector<SinkEntry> top_above(size_t n, double at_least) override {
    if (rank_size_ == 0) return {};
    Ranking ranking(*this);
    return sink_entries(top_.top_above(ranking, n, at_least));
  }

  [[nodiscard]] int64_t keys() const override { return static_cast<int64_t>(live_); }
  [[nodiscard]] int64_t memory_bytes() const override {
    size_t bytes = sizeof(*this) + table_.memory_bytes() + top_.memory_bytes();
    bytes += (changed_.capacity() + frozen_.slots().capacity() + unpublished_.capacity() + publishing_.capacity() +
              touched_.capacity()) *
             sizeof(ByteSlot);
    for (const Undo& undo : undo_) bytes += sizeof(undo) + undo.entries.capacity() * sizeof(OldValue);
    if constexpr (!std::is_trivially_copyable_v<V>) bytes += (live_ + undo_entries()) * sizeof(V);
    return static_cast<int64_t>(bytes);
  }

 protected:
  void begin_batch(BatchId batch) {
    CHECK_GT(batch.value(), newest_.value()) << "batches must be applied in order, each once";
    newest_ = batch;
    changed_by_newest_ = false;
    if constexpr (kLooksBack) {
      undo_.push_back({batch, next_entry_, {}});
      newest_undo_ = &undo_.back();
      newest_undo_begins_ = next_entry_;
    }
    touched_.clear();
  }
  void end_batch() {
    if constexpr (kLooksBack) {
      changed_by_newest_ = !undo_.back().entries.empty();
      if (!changed_by_newest_) undo_.pop_back();
    }
    if (unpublished_.size() > 2 * live_ + kFewRemovals) forget_unpublished_removals();
    const size_t dead = table_.size() - live_;
    const size_t named = changed_.size() + frozen_.slots().size() + unpublished_.size() + publishing_.size() +
                         undo_entries() + top_.marked();
    if (dead > named && (dead - named) * 2 > table_.size()) rebuild();
  }

  [[nodiscard]] bool live(ByteSlot slot) const { return table_.value(slot).live(); }
  [[nodiscard]] const V& value(ByteSlot slot) const { return table_.value(slot).stored.get(); }
  [[nodiscard]] std::string_view key(ByteSlot slot) const { return table_.key(slot); }
  // As read(); none: there was no such key. Until the next batch or forget_undo().
  [[nodiscard]] const V* value_at(ByteSlot slot, BatchId at) const {
    CHECK_GE(at.value(), forgotten_.value()) << "old values up to this batch were forgotten";
    const Cell& cell = table_.value(slot);
    const OldValue* replaced = nullptr;
    uint64_t version = cell.bits >> kListBits;
    for (auto undo = undo_.rbegin(); undo != undo_.rend() && undo->batch > at; ++undo) {
      const uint64_t entry = version >> 1;
      if (entry < undo->first_entry) continue;
      replaced = &undo->entries[entry - undo->first_entry];
      version = replaced->version;
    }
    if ((version & 1) == 0) return nullptr;
    return replaced == nullptr ? &cell.stored.get() : &Stored::old(replaced->value);
  }
  void prefetch(const HashedKey& key) const { table_.prefetch(key.hash); }
  // The key's cell, live or dead; none: there is no such cell.
  [[nodiscard]] ByteSlot find(const HashedKey& key) const { return table_.find(key); }
  // The same, and where there is none a dead one, which may be gone when the next one is opened.
  [[gnu::always_inline]] ByteSlot open(const HashedKey& key) {
    return table_.find_or_insert(key, [this] { rebuild(); }).slot;
  }

  // Within a batch: change_value(V& value, bool fresh) changes the value of a cell. A fresh one has no value yet; what
  // lies in `value` must be assigned over.
  template <typename Change>
  [[gnu::always_inline]] void change(ByteSlot slot, Change&& change_value) {
    Cell& cell = table_.value(slot);
    const bool fresh = !cell.live();
    if (!old_is_kept(cell)) keep_old(slot, cell, cell.stored.copy());
    if (fresh) begin_life(cell);
    try {
      change_value(cell.stored.get(), fresh);
    } catch (...) {
      key_thrown_at = table_.key(slot);
      throw;
    }
    note_change(slot, cell);
  }
  void set(ByteSlot slot, V&& value) {
    Cell& cell = table_.value(slot);
    if (!old_is_kept(cell)) keep_old(slot, cell, cell.stored.take());
    begin_life(cell);
    cell.stored.get() = std::move(value);
    note_change(slot, cell);
  }
  void remove(ByteSlot slot) {
    Cell& cell = table_.value(slot);
    if (!cell.live()) return;
    if (!old_is_kept(cell)) keep_old(slot, cell, cell.stored.take());
    end_life(cell);
    note_change(slot, cell);
  }

  // Before the first batch: as it was when the checkpoint was made.
  void set_restored(ByteSlot slot, V&& value) {
    Cell& cell = table_.value(slot);
    begin_life(cell);
    cell.stored.get() = std::move(value);
    note_rank(slot);
  }
  // ...and the sink may lack it.
  void unpublish(ByteSlot slot) { mark(slot, kUnpublished, unpublished_); }

  // Begins a publication: of all live cells, or of what stands in publishing().
  void open_publication(bool all) {
    CHECK(publication_ == OpenPublication::kNone) << "a publication is open already";
    publication_ = all ? OpenPublication::kAll : OpenPublication::kChanged;
    if (all) publication_covers_forgotten_ = std::exchange(removals_forgotten_, false);
    publishing_.swap(unpublished_);
    table_.visit(publishing_, [&](ByteSlot slot) { table_.value(slot).bits &= ~kUnpublished; });
  }
  [[nodiscard]] std::span<const ByteSlot> publishing() const { return publishing_; }
  void add_entry(ByteSlot slot, std::vector<SinkEntry>& to) const {
    if (live(slot)) {
      to.emplace_back(std::string(key(slot)), text(value(slot)), score(value(slot)));
    } else {
      to.push_back({.key = std::string(key(slot)), .text = {}, .removed = true});
    }
  }

  template <typename Function>
  void for_each_live(Function&& function) const {
    for (size_t index = 0; index < table_.capacity(); ++index) {
      const auto slot = static_cast<ByteSlot>(index);
      if (table_.used(slot) && live(slot)) function(slot);
    }
  }
  // All cells, dead ones too; and what is to be published, but for what an open publication has taken.
  [[nodiscard]] const auto& cells() const { return table_; }
  [[nodiscard]] std::span<const ByteSlot> unpublished() const { return unpublished_; }

  // For who keeps slots of live cells: element i is where slot i is now.
  virtual void slots_moved(std::span<const ByteSlot> /*moved*/) {}

 private:
  static constexpr uint64_t kChangedFlags = 3;  // stands in changed_ (changed_flag_), or unread in frozen_ (the other)
  static constexpr uint64_t kUnpublished = 4;   // stands in unpublished_
  static constexpr uint64_t kCandidate = 8;     // is a candidate of top_
  static constexpr uint64_t kFresh = 16;        // is a fresh candidate of top_
  static constexpr uint64_t kLists = 31;
  static constexpr int kListBits = 5;
  static constexpr uint64_t kLive = 32;
  static constexpr int kEntryShift = 6;
  static constexpr size_t kFewRemovals = 1000;

  struct Cell {
    Stored stored;
    uint64_t bits;  // the flags above; from kEntryShift on the number of the key's newest undo entry, 0: none

    [[nodiscard]] bool live() const { return (bits & kLive) != 0; }
  };
  struct OldValue {
    uint64_t version;  // the cell's bits above kListBits: whether it was live, and the entry before
    typename Stored::Old value;
  };
  struct Undo {
    BatchId batch;
    uint64_t first_entry;  // the number of entries[0]
    std::vector<OldValue> entries;
  };
  enum class OpenPublication { kNone, kChanged, kAll };

  struct Ranking final : RankedTable {
    explicit Ranking(VersionedTable& table) : all(table) {}
    VersionedTable& all;

    [[nodiscard]] bool live(ByteSlot slot) const override { return all.live(slot); }
    [[nodiscard]] double score(ByteSlot slot) const override { return all.score(all.value(slot)); }
    [[nodiscard]] std::string_view key(ByteSlot slot) const override { return all.key(slot); }
    [[nodiscard]] size_t size() const override { return all.live_; }
    [[nodiscard]] std::vector<Item> items() const override {
      std::vector<Item> items;
      items.reserve(all.live_);
      all.for_each_live([&](ByteSlot slot) { items.push_back({all.score(all.value(slot)), slot}); });
      return items;
    }
    [[nodiscard]] bool candidate(ByteSlot slot) const override { return (bits(slot) & kCandidate) != 0; }
    [[nodiscard]] bool fresh(ByteSlot slot) const override { return (bits(slot) & kFresh) != 0; }
    void set_candidate(ByteSlot slot, bool on) override { set(slot, kCandidate, on); }
    void set_fresh(ByteSlot slot, bool on) override { set(slot, kFresh, on); }

   private:
    [[nodiscard]] uint64_t& bits(ByteSlot slot) const { return all.table_.value(slot).bits; }
    void set(ByteSlot slot, uint64_t flag, bool on) { bits(slot) = on ? bits(slot) | flag : bits(slot) & ~flag; }
  };

  // Whether the value before this batch stands in the batch's list.
  [[nodiscard]] bool old_is_kept(const Cell& cell) const {
    if constexpr (!kLooksBack) return true;
    return (cell.bits >> kEntryShift) >= newest_undo_begins_;
  }
  void keep_old(ByteSlot slot, Cell& cell, typename Stored::Old old) {
    if (followed_) [[unlikely]]
      touched_.push_back(slot);
    newest_undo_->entries.push_back({cell.bits >> kListBits, std::move(old)});
    cell.bits = (next_entry_++ << kEntryShift) | (cell.bits & (kLists | kLive));
  }
  void begin_life(Cell& cell) {
    if constexpr (!std::is_trivially_copyable_v<V>) {
      if (cell.stored.value == nullptr) cell.stored.begin();  // Also where an old one was taken away.
    }
    if (cell.live()) return;
    cell.bits |= kLive;
    ++live_;
  }
  void end_life(Cell& cell) {
    cell.stored.drop();
    if (!cell.live()) return;
    cell.bits &= ~kLive;
    --live_;
  }

  [[gnu::always_inline]] void note_change(ByteSlot slot, Cell& cell) {
    if constexpr (!kLooksBack) changed_by_newest_ = true;
    const uint64_t both = kCheckpointed ? changed_flag_ | kUnpublished : kUnpublished;
    if ((cell.bits & both) != both) {
      if constexpr (kCheckpointed) mark(slot, cell, changed_flag_, changed_);
      mark(slot, cell, kUnpublished, unpublished_);
    }
    note_rank(slot);
  }
  void mark(ByteSlot slot, uint64_t flag, std::vector<ByteSlot>& slots) { mark(slot, table_.value(slot), flag, slots); }
  static void mark(ByteSlot slot, Cell& cell, uint64_t flag, std::vector<ByteSlot>& slots) {
    if ((cell.bits & flag) != 0) return;
    cell.bits |= flag;
    slots.push_back(slot);
  }
  void note_rank(ByteSlot slot) {
    if (rank_size_ == 0) return;
    Ranking ranking(*this);
    if (live(slot)) {
      top_.note(ranking, slot);
    } else {
      top_.note_removed(ranking, slot);
    }
  }

  // More of them than live keys: all of these are published then, and the sink drops whatever else it holds.
  void forget_unpublished_removals() {
    std::erase_if(unpublished_, [this](ByteSlot slot) {
      if (!live(slot)) table_.value(slot).bits &= ~kUnpublished;
      return !live(slot);
    });
    removals_forgotten_ = true;
  }

  [[nodiscard]] uint64_t frozen_flag() const { return changed_flag_ ^ kChangedFlags; }
  [[nodiscard]] size_t undo_entries() const { return undo_.empty() ? 0 : next_entry_ - undo_.front().first_entry; }

  // Drops the dead cells that nothing names, and makes room.
  [[gnu::noinline]] void rebuild() {
    std::vector<bool> listed(table_.capacity());
    for (const std::vector<ByteSlot>* slots : {&frozen_.slots(), &publishing_}) {  // These have no flag.
      for (const ByteSlot slot : *slots) listed[slot] = true;
    }
    const uint64_t oldest = undo_.empty() ? next_entry_ : undo_.front().first_entry;
    const std::vector<ByteSlot> moved = table_.rebuild([&](ByteSlot slot) {
      const uint64_t bits = table_.value(slot).bits;
      return (bits & (kLists | kLive)) != 0 || bits >> kEntryShift >= oldest || listed[slot];
    });
    for (std::vector<ByteSlot>* slots : {&changed_, &frozen_.slots(), &unpublished_, &publishing_, &touched_}) {
      for (ByteSlot& slot : *slots) slot = moved[slot];
    }
    top_.remap(moved);
    slots_moved(moved);
  }

  [[nodiscard]] const Show<typename Part::type>& show() const {
    return static_cast<const Show<typename Part::type>&>(*show_);
  }
  [[nodiscard]] double score(const V& value) const {
    return show_ == nullptr ? score_of(value) : show().score(Part::of(value));
  }
  [[nodiscard]] std::string text(const V& value) const {
    if (show_ != nullptr) return show().text(Part::of(value));
    if constexpr (kTextual<V>) return text_of(value);
    return {};  // Of a table that cannot be published, see Table::publish().
  }
  [[nodiscard]] std::vector<SinkEntry> sink_entries(std::span<const ByteSlot> slots) const {
    std::vector<SinkEntry> entries;
    entries.reserve(slots.size());
    table_.visit(slots, [&](ByteSlot slot) { add_entry(slot, entries); });
    return entries;
  }

  const size_t rank_size_;
  std::shared_ptr<const AnyShow> show_;  // a Show of the values' type; none: the values themselves
  ByteTable<Cell> table_;
  size_t live_ = 0;
  BatchId newest_;  // applied
  bool changed_by_newest_ = false;
  BatchId forgotten_;            // as passed to forget_undo
  std::deque<Undo> undo_;        // ascending by batch; batches that changed nothing have none
  Undo* newest_undo_ = nullptr;  // within a batch, its own; it begins with this entry
  uint64_t newest_undo_begins_ = 0;
  uint64_t next_entry_ = 1;
  bool followed_ = false;
  std::vector<ByteSlot> touched_;  // by the newest batch, of a table that is followed
  bool restored_is_changed_ = false;
  uint64_t changed_flag_ = 1;
  std::vector<ByteSlot> changed_;      // since the last freeze
  FrozenSlots frozen_;                 // of the open freeze
  std::vector<ByteSlot> unpublished_;  // since the last publication
  bool removals_forgotten_ = false;
  OpenPublication publication_ = OpenPublication::kNone;
  bool publication_covers_forgotten_ = false;
  std::vector<ByteSlot> publishing_;  // of the open publication
  TopKeys top_;
};

}  // namespace millrace::internal
