// The size of a window, and of the panes that it is made of; see stream/window_table.h.
#pragma once

#include <cstdint>
#include <numeric>

namespace millrace::internal {

struct WindowSize {
  int64_t length_ms;
  int64_t slide_ms;

  bool operator==(const WindowSize&) const = default;
  [[nodiscard]] int64_t pane_ms() const { return std::gcd(length_ms, slide_ms); }
  // Of the pane that a time belongs to, and of the newest window at that time.
  [[nodiscard]] int64_t pane_end(int64_t time_ms) const { return (time_ms + pane_ms() - 1) / pane_ms() * pane_ms(); }
  [[nodiscard]] int64_t window_end(int64_t time_ms) const { return time_ms / slide_ms * slide_ms; }
};

// For people: "of a window of 5m that slides by 1s".
std::string what_of(const WindowSize& size);
// Throws JobError where two windows that are brought together differ.
void check_same_window(const WindowSize& left, const WindowSize& right);

}  // namespace millrace::internal
