#include "worker/rank_gather.h"

#include <algorithm>

namespace millrace {

std::vector<SinkEntry> highest_entries(std::vector<SinkEntry> entries, size_t n) {
  const auto before = [](const SinkEntry& a, const SinkEntry& b) {
    return a.score != b.score ? a.score > b.score : a.key < b.key;
  };
  // As a rule it is one or two ranks that were in order, one behind the other.
  const auto second = std::ranges::is_sorted_until(entries, before);
  const std::ranges::subrange rest(second, entries.end());
  if (!std::ranges::is_sorted(rest, before)) std::ranges::sort(rest, before);
  std::ranges::inplace_merge(entries, second, before);
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
