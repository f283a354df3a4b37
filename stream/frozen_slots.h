// FrozenSlots: the keys of an open freeze: which of them a checkpoint takes, as of which batch, and how far it has read
// their values. Reading them late is what keeps a freeze short.
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/ids.h"
#include "stream/byte_table.h"

namespace millrace::internal {

class FrozenSlots {
 public:
  void open(BatchId at, std::vector<ByteSlot> slots) {
    CHECK(!open_) << "a freeze is open already";
    open_ = true;
    at_ = at;
    slots_ = std::move(slots);
    read_ = 0;
  }
  // Ends it, if one is open. All of its slots.
  std::vector<ByteSlot> close() {
    open_ = false;
    read_ = 0;
    return std::exchange(slots_, {});
  }

  [[nodiscard]] BatchId at() const { return at_; }
  [[nodiscard]] std::span<const ByteSlot> unread() const { return std::span(slots_).subspan(read_); }
  // The next ones, `most` at most, count as read.
  std::span<const ByteSlot> read(size_t most) {
    const auto next = unread().first(std::min(most, unread().size()));
    read_ += next.size();
    return next;
  }
  // All of them; they may be put elsewhere in the table.
  [[nodiscard]] std::vector<ByteSlot>& slots() { return slots_; }
  [[nodiscard]] const std::vector<ByteSlot>& slots() const { return slots_; }

 private:
  bool open_ = false;
  BatchId at_;
  std::vector<ByteSlot> slots_;
  size_t read_ = 0;
};

}  // namespace millrace::internal
