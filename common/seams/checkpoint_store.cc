#include "common/seams/checkpoint_store.h"

#include <algorithm>

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
  const auto key_of = [this](const Packed& entry) {
    return std::string_view(arena_).substr(entry.offset, entry.key_size);
  };
  std::sort(entries_.begin(), entries_.end(), [&](const Packed& a, const Packed& b) {
    return a.partition != b.partition ? a.partition < b.partition : key_of(a) < key_of(b);
  });
}

StateRun::Entry StateRun::operator[](size_t index) const {
  const Packed& entry = entries_[index];
  const std::string_view arena = arena_;
  return {entry.partition, arena.substr(entry.offset, entry.key_size),
          arena.substr(entry.offset + entry.key_size, entry.value_size), entry.removed};
}

}  // namespace millrace
