#include "common/seams/checkpoint_store.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "common/base/byte_order.h"

namespace millrace {

void StateRun::add(StatePartition partition, std::string_view key, std::string_view value, bool removed) {
  entries_.push_back({arena_.size(), static_cast<uint32_t>(prefix_.size() + key.size()),
                      static_cast<uint32_t>(value.size()), partition, removed});
  if (!prefix_.empty()) arena_.append(prefix_);
  arena_.append(key);
  arena_.append(value);
}

void StateRun::reserve(size_t entries, size_t bytes) {
  entries_.reserve(entries);
  arena_.reserve(bytes);
}

void StateRun::sort() {
  std::map<StatePartition, std::vector<Packed>> by_partition;
  for (const Packed& entry : entries_) by_partition[entry.partition].push_back(entry);
  entries_.clear();
  for (const auto& [partition, entries] : by_partition) add_by_key(entries);
}

// Their first bytes are compared beside each other; the keys themselves, far from each other, where these are equal.
void StateRun::add_by_key(const std::vector<Packed>& entries) {
  struct Place {
    uint64_t first, second;  // 16 bytes of the key as numbers
    uint32_t index;
  };
  std::vector<Place> places;
  places.reserve(entries.size());
  for (const Packed& entry : entries) {
    std::array<char, 2 * sizeof(uint64_t)> bytes{};
    const std::string_view key = key_of(entry).substr(0, bytes.size());
    std::memcpy(bytes.data(), key.data(), key.size());
    places.push_back({load_big<uint64_t>(bytes.data()), load_big<uint64_t>(&bytes[sizeof(uint64_t)]),
                      static_cast<uint32_t>(places.size())});
  }
  std::ranges::sort(places, [&](const Place& a, const Place& b) {
    if (a.first != b.first) return a.first < b.first;
    if (a.second != b.second) return a.second < b.second;
    return key_of(entries[a.index]) < key_of(entries[b.index]);
  });
  for (const Place& place : places) entries_.push_back(entries[place.index]);
}

StateRun StateRun::sorted(std::vector<StateRun> runs) {
  StateRun all;
  size_t entries = 0;
  size_t bytes = 0;
  for (const StateRun& run : runs) {
    entries += run.size();
    bytes += run.bytes();
  }
  all.reserve(entries, bytes);
  for (StateRun& run : runs) {
    const size_t offset = all.arena_.size();
    all.arena_ += run.arena_;
    for (Packed entry : run.entries_) {
      entry.offset += offset;
      all.entries_.push_back(entry);
    }
    run = {};
  }
  all.sort();
  return all;
}

StateRun::Entry StateRun::operator[](size_t index) const {
  const Packed& entry = entries_[index];
  const std::string_view arena = arena_;
  return {entry.partition, arena.substr(entry.offset, entry.key_size),
          arena.substr(entry.offset + entry.key_size, entry.value_size), entry.removed};
}

}  // namespace millrace
