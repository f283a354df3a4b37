// TopKeys: the highest keys of a table by (score descending, key ascending as bytes), kept by candidates in order, so
// that asking is cheap where few keys changed. Lives in a state table and is used by its thread only.
//
// Invariant: every key that is no candidate ranks behind the floor. So the candidates at or before the floor are the
// table's highest, however their own scores moved. Where values fell, or keys were removed, so far that too few of them
// are left, all keys are looked at once.
//
// `Ranking` is the table's side: live(slot), key(slot), size() and for_each(function of slot) of the live ones,
// score(slot) of a live one, and two marks a slot: candidate(slot), set_candidate(slot, bool), fresh(slot),
// set_fresh(slot, bool). A slot with a mark stays in the table, also when its key is removed.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stream/byte_table.h"

namespace millrace {

template <typename Ranking>
class TopKeys {
 public:
  // `n`: how many are usually asked for; more is allowed and looks at all keys.
  explicit TopKeys(size_t n) : keep_(std::max(2 * n, n + 256)) {}

  // To be called after each change of a live key's value.
  void note(Ranking& ranking, ByteSlot slot) {
    ++noted_;
    if (ranking.fresh(slot)) return;
    if (ranking.candidate(slot)) {
      ++stale_;
    } else if (floor_ && behind_floor(ranking, {ranking.score(slot), slot})) [[likely]] {
      return;
    }
    ranking.set_candidate(slot, true);
    add_fresh(ranking, slot);
  }

  // To be called after a key was removed.
  void note_removed(Ranking& ranking, ByteSlot slot) {
    ++noted_;
    if (ranking.fresh(slot) || !ranking.candidate(slot)) return;
    ++stale_;
    add_fresh(ranking, slot);
  }

  // The n highest, in order.
  std::vector<ByteSlot> top(Ranking& ranking, size_t n) {
    order(ranking);
    if (ordered_before_floor(ranking) >= std::min(n, ranking.size())) return first(ordered_, n);
    if (n > keep_) return first(highest_of_all(ranking, n), n);
    look_at_all(ranking);
    return first(ordered_, n);
  }

  // Those of top(n) whose score is at least `at_least`. The others are put in order only when changes have become few:
  // then it pays at the next calls.
  std::vector<ByteSlot> top_above(Ranking& ranking, size_t n, double at_least) {
    if (floor_ && floor_->score >= at_least) {  // Some of that score may be no candidates.
      std::vector<ByteSlot> slots = top(ranking, n);
      std::erase_if(slots, [&](ByteSlot slot) { return ranking.score(slot) < at_least; });
      return slots;
    }
    const size_t few = (ordered_.size() + fresh_.size()) / 8;
    if (fresh_.size() > few && noted_ <= few) order(ranking);
    noted_ = 0;
    std::vector<Item> items;
    for (const Item& item : ordered_) {
      if (item.score < at_least) break;
      if (stale_ == 0 || !ranking.fresh(item.slot)) items.push_back(item);
    }
    for (const ByteSlot slot : fresh_) {
      if (!ranking.live(slot)) continue;
      const double score = ranking.score(slot);
      if (score >= at_least) items.push_back({score, slot});
    }
    std::sort(items.begin(), items.end(), before(ranking));
    return first(items, n);
  }

  void remap(std::span<const ByteSlot> moved) {
    for (ByteSlot& slot : fresh_) slot = moved[slot];
    for (Item& item : ordered_) item.slot = moved[item.slot];
  }

  // At least as many as there are slots with a mark.
  [[nodiscard]] size_t marked() const { return ordered_.size() + fresh_.size(); }

  [[nodiscard]] size_t memory_bytes() const {
    return fresh_.capacity() * sizeof(ByteSlot) + (ordered_.capacity() + merged_.capacity()) * sizeof(Item);
  }

 private:
  struct Item {
    double score;
    ByteSlot slot;
  };
  struct Floor {
    double score;
    std::string key;
  };

  static auto before(const Ranking& ranking) {
    return [&ranking](const Item& a, const Item& b) {
      return a.score != b.score ? a.score > b.score : ranking.key(a.slot) < ranking.key(b.slot);
    };
  }

  bool behind_floor(const Ranking& ranking, const Item& item) const {
    return item.score < floor_->score || (item.score == floor_->score && ranking.key(item.slot) > floor_->key);
  }

  [[nodiscard]] size_t ordered_before_floor(const Ranking& ranking) const {
    if (!floor_) return ordered_.size();
    const auto end = std::partition_point(ordered_.begin(), ordered_.end(),
                                          [&](const Item& item) { return !behind_floor(ranking, item); });
    return static_cast<size_t>(end - ordered_.begin());
  }

  static std::vector<ByteSlot> first(const std::vector<Item>& items, size_t n) {
    std::vector<ByteSlot> slots;
    slots.reserve(std::min(n, items.size()));
    for (const Item& item : items) {
      if (slots.size() == n) break;
      slots.push_back(item.slot);
    }
    return slots;
  }

  void add_fresh(Ranking& ranking, ByteSlot slot) {
    ranking.set_fresh(slot, true);
    fresh_.push_back(slot);
    if (ordered_.size() - stale_ + fresh_.size() >= 2 * keep_) prune(ranking);
  }

  // Merges the candidates that are new or changed into the ordered ones; those that were removed are none any more.
  void order(Ranking& ranking) {
    if (fresh_.empty()) return;
    if (stale_ != 0) std::erase_if(ordered_, [&](const Item& item) { return ranking.fresh(item.slot); });
    stale_ = 0;
    std::vector<Item> items;
    items.reserve(fresh_.size());
    for (const ByteSlot slot : fresh_) {
      ranking.set_fresh(slot, false);
      if (ranking.live(slot)) {
        items.push_back({ranking.score(slot), slot});
      } else {
        ranking.set_candidate(slot, false);
      }
    }
    fresh_.clear();
    std::sort(items.begin(), items.end(), before(ranking));
    merged_.resize(ordered_.size() + items.size());
    std::merge(ordered_.begin(), ordered_.end(), items.begin(), items.end(), merged_.begin(), before(ranking));
    ordered_.swap(merged_);
  }

  // Keeps the best of the candidates; the worst of those is the floor, unless the floor ranks higher already.
  void prune(Ranking& ranking) {
    order(ranking);
    if (ordered_.size() <= keep_) return;  // The others were removed.
    const Item& worst = ordered_[keep_ - 1];
    if (!floor_ || !behind_floor(ranking, worst)) floor_ = Floor{worst.score, std::string(ranking.key(worst.slot))};
    for (size_t i = keep_; i < ordered_.size(); ++i) ranking.set_candidate(ordered_[i].slot, false);
    ordered_.resize(keep_);
  }

  static std::vector<Item> highest_of_all(const Ranking& ranking, size_t n) {
    std::vector<Item> items;
    items.reserve(ranking.size());
    ranking.for_each([&](ByteSlot slot) { items.push_back({ranking.score(slot), slot}); });
    if (n < items.size()) {
      std::nth_element(items.begin(), items.begin() + static_cast<ptrdiff_t>(n), items.end(), before(ranking));
      items.resize(n);
    }
    std::sort(items.begin(), items.end(), before(ranking));
    return items;
  }

  // There is no fresh candidate here: order() came before.
  void look_at_all(Ranking& ranking) {
    for (const Item& item : ordered_) ranking.set_candidate(item.slot, false);
    ordered_ = highest_of_all(ranking, keep_);
    for (const Item& item : ordered_) ranking.set_candidate(item.slot, true);
    floor_.reset();
    if (ordered_.size() < ranking.size()) {
      const Item& worst = ordered_.back();
      floor_ = Floor{worst.score, std::string(ranking.key(worst.slot))};
    }
  }

  const size_t keep_;
  std::vector<Item> ordered_;    // candidates by rank, of which stale_ have changed and are in fresh_ too
  std::vector<ByteSlot> fresh_;  // candidates that are new or have changed since order()
  size_t stale_ = 0;
  size_t noted_ = 0;            // calls of note() since the last top_above()
  std::vector<Item> merged_;    // the buffer of order()
  std::optional<Floor> floor_;  // none: every key is a candidate
};

}  // namespace millrace
