#include "client/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

namespace millrace::client {

void Screen::draw(std::vector<std::string> lines) {
  const std::lock_guard lock(mutex_);
  lines_ = std::move(lines);
  if (output_.terminal) return draw_on_terminal(size_now());
  for (const std::string& line : lines_) output_.stream << line << "\n";
  output_.stream << "\n" << std::flush;
}

void Screen::draw_again() {
  const std::lock_guard lock(mutex_);
  const Size size = size_now();
  if (lines_.empty() || size == drawn_for_) return;
  output_.stream << "\x1b[H\x1b[2J";
  drawn_ = 0;
  draw_on_terminal(size);
}

void Screen::keep() {
  const std::lock_guard lock(mutex_);
  drawn_ = 0;
}

Screen::Size Screen::size_now() {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
  return known ? Size(size.ws_row, size.ws_col) : Size(24, 80);
}

// As many lines as there are rows above the cursor's own: what scrolls off cannot be drawn over.
void Screen::draw_on_terminal(Size size) {
  if (drawn_ > 0 && size != drawn_for_) {
    output_.stream << "\x1b[H\x1b[2J";
  } else {
    if (drawn_ > 0) output_.stream << "\x1b[" << drawn_ << "A";
    output_.stream << "\r\x1b[J";
  }
  drawn_ = std::min(lines_.size(), std::max<size_t>(size.first, 2) - 1);
  for (size_t i = 0; i < drawn_; ++i) output_.stream << clipped(lines_[i], size.second - 1) << "\n";
  output_.stream.flush();
  drawn_for_ = size;
}

// A line that wraps would be two to erase. Cuts between code points; a tab counts 8.
std::string Screen::clipped(const std::string& line, size_t room) {
  for (size_t i = 0; i < line.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(line[i]) & 0xc0) != 0x80;
    const size_t columns = line[i] == '\t' ? 8 : begins ? 1 : 0;
    if (columns > room) return line.substr(0, i);
    room -= columns;
  }
  return line;
}

WindowFollower::WindowFollower(Screen& screen) {
  sigemptyset(&change_);
  sigaddset(&change_, SIGWINCH);
  pthread_sigmask(SIG_BLOCK, &change_, nullptr);
  thread_ = std::thread([this, &screen] {
    int signal = 0;
    while (sigwait(&change_, &signal) == 0 && !over_) screen.draw_again();
  });
}

WindowFollower::~WindowFollower() {
  over_ = true;
  pthread_kill(thread_.native_handle(), SIGWINCH);
  thread_.join();
}

void end_at_interrupt() {
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { _exit(0); });
}

}  // namespace millrace::client
