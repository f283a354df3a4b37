// The two ends of a session's sequence: what was sent and not acknowledged, and what arrived ahead of a gap.
// Plain data without time or network; Messenger drives them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "common/seams/network.h"

namespace millrace {

// A position in the messages from one process to another, from 1.
using Sequence = int64_t;

// First and last, both included.
using SequenceRange = std::pair<Sequence, Sequence>;

// Messages that were queued and are not acknowledged, in order and without gap. Those before `unsent()` were
// handed to the network at least once on the present link.
class SendWindow {
 public:
  [[nodiscard]] Sequence next() const { return acknowledged_ + static_cast<Sequence>(frames_.size()) + 1; }
  [[nodiscard]] Sequence acknowledged() const { return acknowledged_; }
  [[nodiscard]] bool empty() const { return frames_.empty(); }
  [[nodiscard]] size_t bytes() const { return bytes_; }

  // The first one not yet handed to the network; next() where all were.
  [[nodiscard]] Sequence unsent() const { return unsent_; }
  void mark_sent() { ++unsent_; }
  void mark_all_unsent() { unsent_ = acknowledged_ + 1; }

  void push(Frame frame);  // becomes next()
  [[nodiscard]] const Frame& at(Sequence sequence) const;
  // All up to `sequence` have arrived. False: it was never sent.
  bool acknowledge(Sequence sequence);

  // What a frame counts against the bound: its bytes and what keeping it costs.
  static size_t cost(const Frame& frame);

 private:
  std::deque<Frame> frames_;
  Sequence acknowledged_ = 0;
  Sequence unsent_ = 1;
  size_t bytes_ = 0;
};

// What to do with an arrived message.
enum class Arrival {
  kNext,      // Deliver it, then what take_next() gives.
  kEarly,     // Kept until the gap is filled.
  kRepeated,  // Drop it: it was delivered, or is kept.
  kTooEarly,  // Drop it, there is no room: it will be asked for again.
};

class ReceiveWindow {
 public:
  ReceiveWindow(size_t max_messages, size_t max_bytes) : max_messages_(max_messages), max_bytes_(max_bytes) {}

  [[nodiscard]] Sequence received() const { return received_; }

  // `frame` is taken only for kEarly.
  Arrival arrive(Sequence sequence, const Frame& frame);
  // The next kept message; an empty control part where there is none.
  Frame take_next();

  // The peer says that it has sent up to here.
  void expect(Sequence newest);
  [[nodiscard]] bool has_gap() const { return newest_ > received_; }
  // At most `limit` ranges, the first ones.
  [[nodiscard]] std::vector<SequenceRange> missing(size_t limit) const;

 private:
  const size_t max_messages_;
  const size_t max_bytes_;
  std::map<Sequence, Frame> early_;
  size_t early_bytes_ = 0;
  Sequence received_ = 0;
  Sequence newest_ = 0;  // seen or heard of
};

}  // namespace millrace
