// LineReader: lines from a descriptor, gathered into groups: as many as fill one append, or what came within a short
// while, so that a slow source is passed on without delay. One thread uses it.
#pragma once

#include <csignal>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.h"

namespace millrace::client {

struct LineGroup {
  std::vector<std::string_view> lines;  // without their ends; valid until the reader is asked for the next group
  bool full = false;                    // more would not have fitted
  bool end = false;                     // nothing comes after these
};

class LineReader {
 public:
  static constexpr size_t kGroupBytes = 1 << 20;
  static constexpr size_t kGroupLines = 10'000;
  static constexpr size_t kMaxLineBytes = 8 << 20;
  static constexpr int kPatienceMs = 50;  // how long the first line of a group waits for others

  // SIGINT ends the input as its own end would, when it arrives while waiting; between the waits it must be blocked
  // (see InterruptBlock).
  LineReader(int descriptor, const sigset_t& mask_while_waiting)
      : descriptor_(descriptor), mask_while_waiting_(mask_while_waiting) {}

  // Waits for the next group. kInvalid: a line is longer than kMaxLineBytes. kIo: the input cannot be read.
  Result<LineGroup> next();
  [[nodiscard]] int64_t bytes_read() const { return bytes_read_; }
  // The end that next() told was a signal's, and not the input's own.
  [[nodiscard]] bool interrupted() const { return interrupted_; }

 private:
  enum class Input { kReady, kNothing, kEnd };

  // A group that is being gathered: where its lines are in the buffer, which still grows.
  struct Gathered {
    std::vector<std::pair<size_t, size_t>> lines;  // begin and size
    size_t bytes = 0;
    bool full = false;
  };
  // Takes whole lines out of what was read.
  Status split(Gathered& group);
  [[nodiscard]] LineGroup finish(const Gathered& group) const;
  Result<Input> wait(int timeout_ms);  // -1: for ever
  Result<Input> read_some();

  // Constant after construction.
  const int descriptor_;
  const sigset_t mask_while_waiting_;

  std::string buffer_;
  size_t begin_ = 0;    // of what is not yet split
  size_t scanned_ = 0;  // no line ends before this
  int64_t lines_ = 0;
  int64_t bytes_read_ = 0;
  bool end_ = false;
  bool interrupted_ = false;
};

// While it lives SIGINT is blocked in this thread, and handled so that it only interrupts waiting; a second one
// ends the process.
class InterruptBlock {
 public:
  InterruptBlock();
  ~InterruptBlock();
  InterruptBlock(const InterruptBlock&) = delete;
  InterruptBlock& operator=(const InterruptBlock&) = delete;

  [[nodiscard]] const sigset_t& mask_while_waiting() const { return before_; }
  // Waits; true if SIGINT came.
  bool pause(int milliseconds) const;

 private:
  sigset_t before_;
  struct sigaction handler_before_;
};

}  // namespace millrace::client
