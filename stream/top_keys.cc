#include "stream/top_keys.h"

namespace millrace {
namespace {

auto before(const RankedTable& table) {
  return [&table](const RankedTable::Item& a, const RankedTable::Item& b) {
    return a.score != b.score ? a.score > b.score : table.key(a.slot) < table.key(b.slot);
  };
}

std::vector<ByteSlot> first_slots(const std::vector<RankedTable::Item>& items, size_t n) {
  std::vector<ByteSlot> slots;
  slots.reserve(std::min(n, items.size()));
  for (const RankedTable::Item& item : items) {
    if (slots.size() == n) break;
    slots.push_back(item.slot);
  }
  return slots;
}

std::vector<RankedTable::Item> highest_of_all(const RankedTable& table, size_t n) {
  std::vector<RankedTable::Item> items = table.items();
  if (n < items.size()) {
    std::nth_element(items.begin(), items.begin() + static_cast<ptrdiff_t>(n), items.end(), before(table));
    items.resize(n);
  }
  std::sort(items.begin(), items.end(), before(table));
  return items;
}

}  // namespace

void TopKeys::note_removed(RankedTable& table, ByteSlot slot) {
  ++noted_;
  if (table.fresh(slot) || !table.candidate(slot)) return;
  ++stale_;
  add_fresh(table, slot);
}

std::vector<ByteSlot> TopKeys::top(RankedTable& table, size_t n) {
  order(table);
  if (ordered_before_floor(table) >= std::min(n, table.size())) return first_slots(ordered_, n);
  if (n > keep_) return first_slots(highest_of_all(table, n), n);
  look_at_all(table);
  return first_slots(ordered_, n);
}

std::vector<ByteSlot> TopKeys::top_above(RankedTable& table, size_t n, double at_least) {
  if (floor_ && floor_->score >= at_least) {  // Some of that score may be no candidates.
    std::vector<ByteSlot> slots = top(table, n);
    std::erase_if(slots, [&](ByteSlot slot) { return table.score(slot) < at_least; });
    return slots;
  }
  const size_t few = (ordered_.size() + fresh_.size()) / 8;
  if (fresh_.size() > few && noted_ <= few) order(table);
  noted_ = 0;
  std::vector<Item> items;
  for (const Item& item : ordered_) {
    if (item.score < at_least) break;
    if (stale_ == 0 || !table.fresh(item.slot)) items.push_back(item);
  }
  for (const ByteSlot slot : fresh_) {
    if (!table.live(slot)) continue;
    const double score = table.score(slot);
    if (score >= at_least) items.push_back({score, slot});
  }
  std::sort(items.begin(), items.end(), before(table));
  return first_slots(items, n);
}

void TopKeys::remap(std::span<const ByteSlot> moved) {
  for (ByteSlot& slot : fresh_) slot = moved[slot];
  for (Item& item : ordered_) item.slot = moved[item.slot];
}

size_t TopKeys::ordered_before_floor(const RankedTable& table) const {
  if (!floor_) return ordered_.size();
  const auto end = std::partition_point(ordered_.begin(), ordered_.end(),
                                        [&](const Item& item) { return !behind_floor(table, item); });
  return static_cast<size_t>(end - ordered_.begin());
}

void TopKeys::order(RankedTable& table) {
  if (fresh_.empty()) return;
  if (stale_ != 0) std::erase_if(ordered_, [&](const Item& item) { return table.fresh(item.slot); });
  stale_ = 0;
  std::vector<Item> items;
  items.reserve(fresh_.size());
  for (const ByteSlot slot : fresh_) {
    table.set_fresh(slot, false);
    if (table.live(slot)) {
      items.push_back({table.score(slot), slot});
    } else {
      table.set_candidate(slot, false);
    }
  }
  fresh_.clear();
  std::sort(items.begin(), items.end(), before(table));
  merged_.resize(ordered_.size() + items.size());
  std::merge(ordered_.begin(), ordered_.end(), items.begin(), items.end(), merged_.begin(), before(table));
  ordered_.swap(merged_);
}

void TopKeys::prune(RankedTable& table) {
  order(table);
  if (ordered_.size() <= keep_) return;  // The others were removed.
  const Item& worst = ordered_[keep_ - 1];
  if (!floor_ || !behind_floor(table, worst)) floor_ = Floor{worst.score, std::string(table.key(worst.slot))};
  for (size_t i = keep_; i < ordered_.size(); ++i) table.set_candidate(ordered_[i].slot, false);
  ordered_.resize(keep_);
}

void TopKeys::look_at_all(RankedTable& table) {
  for (const Item& item : ordered_) table.set_candidate(item.slot, false);
  ordered_ = highest_of_all(table, keep_);
  for (const Item& item : ordered_) table.set_candidate(item.slot, true);
  floor_.reset();
  if (ordered_.size() < table.size()) {
    const Item& worst = ordered_.back();
    floor_ = Floor{worst.score, std::string(table.key(worst.slot))};
  }
}

}  // namespace millrace
