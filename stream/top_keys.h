// TopKeys: the highest keys of a table by (score descending, key ascending as bytes), kept by candidates in order, so
// that asking is cheap where few keys changed. Lives in a state table and is used by its thread only.
//
// Invariant: every key that is no candidate ranks behind the floor. So the candidates at or before the floor are the
// table's highest, however their own scores moved. Where values fell, or keys were removed, so far that too few of them
// are left, all keys are looked at once.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stream/byte_table.h"

namespace millrace {

// The table's side. A slot with a mark stays in the table, also when its key is removed.
class RankedTable {
 public:
  struct Item {
    double score;
    ByteSlot slot;
  };

  [[nodiscard]] virtual bool live(ByteSlot slot) const = 0;
  [[nodiscard]] virtual double score(ByteSlot slot) const = 0;  // of a live one
  [[nodiscard]] virtual std::string_view key(ByteSlot slot) const = 0;
  [[nodiscard]] virtual size_t size() const = 0;              // of the live ones
  [[nodiscard]] virtual std::vector<Item> items() const = 0;  // all live ones
  [[nodiscard]] virtual bool candidate(ByteSlot slot) const = 0;
  [[nodiscard]] virtual bool fresh(ByteSlot slot) const = 0;
  virtual void set_candidate(ByteSlot slot, bool on) = 0;
  virtual void set_fresh(ByteSlot slot, bool on) = 0;

 protected:
  ~RankedTable() = default;
};

class TopKeys {
 public:
  // `n`: how many are usually asked for; more is allowed and looks at all keys.
  explicit TopKeys(size_t n) : keep_(std::max(2 * n, n + 256)) {}

  // To be called after each change of a live key's value. `Table`: a final RankedTable, which is called with no detour.
  template <typename Table>
  void note(Table& table, ByteSlot slot) {
    ++noted_;
    if (table.fresh(slot)) return;
    if (table.candidate(slot)) {
      ++stale_;
    } else if (floor_ && behind_floor(table, {table.score(slot), slot})) [[likely]] {
      return;
    }
    table.set_candidate(slot, true);
    add_fresh(table, slot);
  }

  // To be called after a key was removed.
  void note_removed(RankedTable& table, ByteSlot slot);

  // The n highest, in order.
  std::vector<ByteSlot> top(RankedTable& table, size_t n);

  // Those of top(n) whose score is at least `at_least`. The others are put in order only when changes have become few:
  // then it pays at the next calls.
  std::vector<ByteSlot> top_above(RankedTable& table, size_t n, double at_least);

  void remap(std::span<const ByteSlot> moved);

  // At least as many as there are slots with a mark.
  [[nodiscard]] size_t marked() const { return ordered_.size() + fresh_.size(); }

  [[nodiscard]] size_t memory_bytes() const {
    return fresh_.capacity() * sizeof(ByteSlot) + (ordered_.capacity() + merged_.capacity()) * sizeof(Item);
  }

 private:
  using Item = RankedTable::Item;
  struct Floor {
    double score;
    std::string key;
  };

  template <typename Table>
  bool behind_floor(const Table& table, const Item& item) const {
    return item.score < floor_->score || (item.score == floor_->score && table.key(item.slot) > floor_->key);
  }
  template <typename Table>
  void add_fresh(Table& table, ByteSlot slot) {
    table.set_fresh(slot, true);
    fresh_.push_back(slot);
    if (ordered_.size() - stale_ + fresh_.size() >= 2 * keep_) prune(table);
  }

  [[nodiscard]] size_t ordered_before_floor(const RankedTable& table) const;
  // Merges the candidates that are new or changed into the ordered ones; those that were removed are none any more.
  void order(RankedTable& table);
  // Keeps the best of the candidates; the worst of those is the floor, unless the floor ranks higher already.
  void prune(RankedTable& table);
  // There is no fresh candidate here: order() came before.
  void look_at_all(RankedTable& table);

  const size_t keep_;
  std::vector<Item> ordered_;    // candidates by rank, of which stale_ have changed and are in fresh_ too
  std::vector<ByteSlot> fresh_;  // candidates that are new or have changed since order()
  size_t stale_ = 0;
  size_t noted_ = 0;            // calls of note() since the last top_above()
  std::vector<Item> merged_;    // the buffer of order()
  std::optional<Floor> floor_;  // none: every key is a candidate
};

}  // namespace millrace
