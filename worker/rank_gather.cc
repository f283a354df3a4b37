#include "worker/rank_gather.h"

#include <algorithm>
#include <utility>

namespace millrace {

namespace {

bool is_before(const SinkEntry& a, const SinkEntry& b) {
  return a.score != b.score ? a.score > b.score : a.key < b.key;
}

// Pointers are sorted, since an entry is as large as eleven.
std::vector<SinkEntry> in_order(std::vector<SinkEntry> entries) {
  std::vector<SinkEntry*> order;
  order.reserve(entries.size());
  for (SinkEntry& entry : entries) order.push_back(&entry);
  const auto before = [](const SinkEntry* a, const SinkEntry* b) { return is_before(*a, *b); };
  // As a rule it is the ranks of two executors, one behind the other, or those of a lane's partitions.
  const auto second = std::ranges::is_sorted_until(order, before);
  const std::ranges::subrange rest(second, order.end());
  if (!std::ranges::is_sorted(rest, before)) std::ranges::sort(rest, before);
  std::ranges::inplace_merge(order, second, before);
  std::vector<SinkEntry> ordered;
  ordered.reserve(order.size());
  for (SinkEntry* entry : order) ordered.push_back(std::move(*entry));
  return ordered;
}

}  // namespace

std::vector<SinkEntry> highest_entries(std::vector<SinkEntry> entries, size_t n) {
  if (!std::ranges::is_sorted(entries, is_before)) entries = in_order(std::move(entries));
  const auto repeated = std::ranges::unique(entries, {}, &SinkEntry::key);
  entries.erase(repeated.begin(), repeated.end());
  if (entries.size() > n) entries.resize(n);
  return entries;
}

std::optional<RankShare> RankGather::add(RankShare share, const std::set<StatePartition>& required, size_t n) {
  Open& open = open_[share.batch];
  open.covered.insert(share.partitions.begin(), share.partitions.end());
  open.entries.insert(open.entries.end(), std::make_move_iterator(share.entries.begin()),
                      std::make_move_iterator(share.entries.end()));
  if (open.entries.size() >= (open.floor ? 2 * n : n)) trim(open, n);
  if (!std::ranges::includes(open.covered, required)) {
    if (open_.size() > kMaxOpen) open_.erase(open_.begin());
    return std::nullopt;
  }
  RankShare merged;
  merged.batch = share.batch;
  merged.table = share.table;
  merged.partitions.assign(open.covered.begin(), open.covered.end());
  merged.entries = highest_entries(std::move(open.entries), n);
  open_.erase(open_.begin(), open_.upper_bound(share.batch));
  return merged;
}

void RankGather::trim(Open& open, size_t n) {
  open.entries = highest_entries(std::move(open.entries), n);
  if (n != 0 && open.entries.size() == n) open.floor = open.entries.back().score;
}

std::optional<double> RankGather::floor(BatchId batch) const {
  const auto open = open_.find(batch);
  return open == open_.end() ? std::nullopt : open->second.floor;
}

void RankGather::forget_beyond(BatchId batch) {
  open_.erase(open_.upper_bound(batch), open_.end());
}

}  // namespace millrace
