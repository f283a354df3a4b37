// DueQueue: when to look at which cells of a table. Used by one thread.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "stream/byte_table.h"

namespace millrace::internal {

class DueQueue {
 public:
  void add(int64_t due_ms, ByteSlot slot) { due_[due_ms].push_back(slot); }
  // Calls function(slot) for each that is due; it may add others.
  template <typename Function>
  void take_due(int64_t now_ms, Function&& function) {
    while (!due_.empty() && due_.begin()->first <= now_ms) {
      const std::vector<ByteSlot> slots = std::move(due_.extract(due_.begin()).mapped());
      for (const ByteSlot slot : slots) function(slot);
    }
  }
  void remap(std::span<const ByteSlot> moved) {
    for (auto& [due, slots] : due_) {
      for (ByteSlot& slot : slots) slot = moved[slot];
    }
  }

 private:
  std::map<int64_t, std::vector<ByteSlot>> due_;
};

}  // namespace millrace::internal
