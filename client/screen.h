// Screen: lines that are drawn over what was drawn before, where the output is a terminal.
#pragma once

#include <atomic>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/output.h"

namespace millrace::client {

// Thread-safe.
class Screen {
 public:
  explicit Screen(const Output& output) : output_(output) {}  // which outlives it

  // Where it is no terminal: below what was drawn before, and an empty line.
  void draw(std::vector<std::string> lines);
  // The window has another size: what stands there may be wrapped anew.
  void draw_again();
  // Something else was written: the next drawing begins below it.
  void keep();

 private:
  using Size = std::pair<size_t, size_t>;  // rows, columns

  static Size size_now();
  void draw_on_terminal(Size size);
  static std::string clipped(const std::string& line, size_t room);

  const Output& output_;
  std::mutex mutex_;  // guards what follows, and the terminal
  std::vector<std::string> lines_;
  size_t drawn_ = 0;  // lines above the cursor
  Size drawn_for_;
};

// While it lives a window that changes its size is drawn at once, although the next batch may take long. Made before
// other threads are, since it blocks the signal.
class WindowFollower {
 public:
  explicit WindowFollower(Screen& screen);
  ~WindowFollower();
  WindowFollower(const WindowFollower&) = delete;
  WindowFollower& operator=(const WindowFollower&) = delete;

 private:
  sigset_t change_{};
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

// From here on Ctrl-C and SIGTERM end the program at once: for one that flushes what it writes and has nothing to tidy
// up.
void end_at_interrupt();

}  // namespace millrace::client
