#include "common/runtime/session_windows.h"

#include <algorithm>

#include "common/base/check.h"

namespace millrace {

size_t SendWindow::cost(const Frame& frame) {
  constexpr size_t kKept = 256;
  return frame.control.size() + frame.bulk.size() + kKept;
}

void SendWindow::push(Frame frame) {
  bytes_ += cost(frame);
  frames_.push_back(std::move(frame));
}

const Frame& SendWindow::at(Sequence sequence) const {
  CHECK(sequence > acknowledged_ && sequence < next());
  return frames_[static_cast<size_t>(sequence - acknowledged_ - 1)];
}

bool SendWindow::acknowledge(Sequence sequence) {
  if (sequence >= next()) return false;
  while (acknowledged_ < sequence) {
    bytes_ -= cost(frames_.front());
    frames_.pop_front();
    ++acknowledged_;
  }
  unsent_ = std::max(unsent_, acknowledged_ + 1);
  return true;
}

Arrival ReceiveWindow::arrive(Sequence sequence, const Frame& frame) {
  if (sequence <= received_ || early_.contains(sequence)) return Arrival::kRepeated;
  newest_ = std::max(newest_, sequence);
  if (sequence == received_ + 1) {
    ++received_;
    return Arrival::kNext;
  }
  const size_t cost = SendWindow::cost(frame);
  if (early_.size() >= max_messages_ || early_bytes_ + cost > max_bytes_) return Arrival::kTooEarly;
  early_bytes_ += cost;
  early_.emplace(sequence, frame);
  return Arrival::kEarly;
}

Frame ReceiveWindow::take_next() {
  if (early_.empty() || early_.begin()->first != received_ + 1) return {};
  Frame frame = std::move(early_.begin()->second);
  early_.erase(early_.begin());
  early_bytes_ -= SendWindow::cost(frame);
  ++received_;
  return frame;
}

void ReceiveWindow::expect(Sequence newest) {
  newest_ = std::max(newest_, newest);
}

std::vector<SequenceRange> ReceiveWindow::missing(size_t limit) const {
  std::vector<SequenceRange> ranges;
  Sequence from = received_ + 1;
  for (auto early = early_.begin(); early != early_.end() && ranges.size() < limit; ++early) {
    if (early->first > from) ranges.emplace_back(from, early->first - 1);
    from = early->first + 1;
  }
  if (ranges.size() < limit && from <= newest_) ranges.emplace_back(from, newest_);
  return ranges;
}

}  // namespace millrace
