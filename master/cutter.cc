#include "master/cutter.h"

#include "common/base/check.h"

namespace millrace {

void Cutter::add_partition(LogPartition partition, Offset next) {
  const bool added = partitions_.try_emplace(partition, Partition{next, next, 0, 0, {}}).second;
  CHECK(added) << "log partition " << partition << " is known already";
}

void Cutter::restart_reader(LogPartition partition) {
  Partition& state = partitions_.at(partition);
  state.reader_from = state.next;
  state.planned = 0;
  state.planned_bytes = 0;
  state.boundaries.clear();
}

void Cutter::announce(LogPartition partition, Offset reader_from, Offset to, int64_t records, int64_t bytes) {
  const auto found = partitions_.find(partition);
  if (found == partitions_.end()) return;
  Partition& state = found->second;
  const Offset newest = state.boundaries.empty() ? state.next : state.boundaries.back().to;
  if (reader_from != state.reader_from || to <= newest) return;
  state.boundaries.push_back({to, records, bytes});
}

bool Cutter::has_records() const {
  for (const auto& [id, state] : partitions_) {
    if (!state.boundaries.empty()) return true;
  }
  return false;
}

int64_t Cutter::waiting_bytes(LogPartition partition) const {
  const Partition& state = partitions_.at(partition);
  return state.boundaries.empty() ? 0 : state.boundaries.back().bytes - state.planned_bytes;
}

std::vector<CutRange> Cutter::cut(int64_t max_records_per_partition) {
  std::vector<CutRange> ranges;
  for (auto& [id, state] : partitions_) {
    if (state.boundaries.empty()) continue;
    Boundary taken = state.boundaries.front();
    state.boundaries.pop_front();
    while (!state.boundaries.empty() && state.boundaries.front().records - state.planned <= max_records_per_partition) {
      taken = state.boundaries.front();
      state.boundaries.pop_front();
    }
    ranges.push_back({id, {state.next, taken.to}, taken.records - state.planned, taken.bytes - state.planned_bytes});
    state.next = taken.to;
    state.planned = taken.records;
    state.planned_bytes = taken.bytes;
  }
  return ranges;
}

Offset Cutter::next_offset(LogPartition partition) const {
  return partitions_.at(partition).next;
}

std::vector<LogPartition> Cutter::partitions() const {
  std::vector<LogPartition> ids;
  for (const auto& [id, state] : partitions_) ids.push_back(id);
  return ids;
}

}  // namespace millrace
