// FinalQueue: which cells of a table of windows are due, in order of time and then of their keys' bytes, so that a
// batch may take a part of them: what it takes is a function of what the table holds alone. Used by one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "stream/byte_table.h"

namespace millrace::internal {

class FinalQueue {
 public:
  struct Entry {
    int64_t due_ms;
    ByteSlot slot;
  };

  // Not before what has been taken.
  void add(int64_t due_ms, ByteSlot slot) {
    later_[due_ms].push_back(slot);
    ++entries_;
  }
  // The next one that is due at `now_ms`, none twice for the same time. `key_of(slot)`: its key's bytes.
  template <typename KeyOf>
  std::optional<Entry> take(int64_t now_ms, KeyOf&& key_of) {
    if (next_.empty()) {
      if (later_.empty() || later_.begin()->first > now_ms) return std::nullopt;
      auto group = later_.extract(later_.begin());
      next_ms_ = group.key();
      next_ = std::move(group.mapped());
      std::ranges::sort(next_, std::ranges::greater(), key_of);  // the first one last
      const auto repeats = std::ranges::unique(next_);
      entries_ -= repeats.size();
      next_.erase(repeats.begin(), repeats.end());
    }
    const ByteSlot slot = next_.back();
    next_.pop_back();
    --entries_;
    return Entry{next_ms_, slot};
  }
  void remap(std::span<const ByteSlot> moved) {
    for (ByteSlot& slot : next_) slot = moved[slot];
    for (auto& [due_ms, slots] : later_) {
      for (ByteSlot& slot : slots) slot = moved[slot];
    }
  }
  [[nodiscard]] int64_t memory_bytes() const {
    return static_cast<int64_t>(entries_ * sizeof(ByteSlot) + later_.size() * sizeof(*later_.begin()));
  }

 private:
  int64_t next_ms_ = 0;  // when next_ is due
  std::vector<ByteSlot> next_;
  std::map<int64_t, std::vector<ByteSlot>> later_;
  size_t entries_ = 0;  // of both
};

}  // namespace millrace::internal
