#include "client/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

namespace millrace::client {
namespace {

constexpr size_t kReadBytes = 256 << 10;

timespec timespec_of(int milliseconds) {
  return {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1'000'000L};
}

void do_nothing(int) {}

}  // namespace

InterruptBlock::InterruptBlock() {
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, &before_);
  struct sigaction action = {};
  action.sa_handler = do_nothing;
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, &handler_before_);
}

InterruptBlock::~InterruptBlock() {
  sigaction(SIGINT, &handler_before_, nullptr);
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool InterruptBlock::pause(int milliseconds) const {
  const timespec timeout = timespec_of(milliseconds);
  return ppoll(nullptr, 0, &timeout, &before_) < 0 && errno == EINTR;
}

Result<LineReader::Input> LineReader::wait(int timeout_ms) {
  pollfd watched = {.fd = descriptor_, .events = POLLIN, .revents = 0};
  const timespec timeout = timespec_of(timeout_ms);
  const int ready = ppoll(&watched, 1, timeout_ms < 0 ? nullptr : &timeout, &mask_while_waiting_);
  if (ready < 0 && errno != EINTR) {
    return fail(ErrorCode::kIo, std::string("standard input cannot be waited for: ") + std::strerror(errno));
  }
  interrupted_ = ready < 0;
  if (interrupted_) return Input::kEnd;
  return ready == 0 ? Input::kNothing : Input::kReady;
}

Result<LineReader::Input> LineReader::read_some() {
  const size_t before = buffer_.size();
  buffer_.resize(before + kReadBytes);
  const ssize_t count = read(descriptor_, buffer_.data() + before, kReadBytes);
  buffer_.resize(before + static_cast<size_t>(std::max<ssize_t>(count, 0)));
  bytes_read_ += std::max<ssize_t>(count, 0);
  if (count > 0) return Input::kReady;
  if (count == 0) return Input::kEnd;
  if (errno == EINTR || errno == EAGAIN) return Input::kNothing;
  return fail(ErrorCode::kIo, std::string("standard input cannot be read: ") + std::strerror(errno));
}

Status LineReader::split(Gathered& group) {
  while (group.bytes < kGroupBytes && group.lines.size() < kGroupLines) {
    size_t line_end = buffer_.find('\n', scanned_);
    const bool whole = line_end != std::string::npos;
    if (!whole) line_end = buffer_.size();
    scanned_ = line_end;
    if (line_end - begin_ > kMaxLineBytes) {
      return fail(ErrorCode::kInvalid, "line " + std::to_string(lines_ + 1) + " of the input is longer than " +
                                           std::to_string(kMaxLineBytes >> 20) + " MiB; shorten it");
    }
    if (!whole && (!end_ || begin_ == buffer_.size())) return {};
    if (!group.lines.empty() && group.bytes + line_end - begin_ > kGroupBytes) break;
    group.lines.emplace_back(begin_, line_end - begin_);
    group.bytes += line_end - begin_;
    begin_ = scanned_ = std::min(line_end + 1, buffer_.size());
    ++lines_;
  }
  group.full = true;
  return {};
}

LineGroup LineReader::finish(const Gathered& gathered) const {
  LineGroup group;
  group.lines.reserve(gathered.lines.size());
  for (const auto& [begin, size] : gathered.lines) group.lines.emplace_back(buffer_.data() + begin, size);
  group.full = gathered.full;
  group.end = end_ && !gathered.full;
  return group;
}

Result<LineGroup> LineReader::next() {
  using Clock = std::chrono::steady_clock;
  buffer_.erase(0, begin_);
  scanned_ -= begin_;
  begin_ = 0;
  Gathered group;
  std::optional<Clock::time_point> deadline;  // set by the first line: a steady trickle must not fill the group
  while (true) {
    if (const Status split_up = split(group); !split_up) return std::unexpected(split_up.error());
    if (group.full) return finish(group);
    if (end_) break;
    int patience_ms = -1;
    if (!group.lines.empty()) {
      if (!deadline) deadline = Clock::now() + std::chrono::milliseconds(kPatienceMs);
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - Clock::now());
      if (left.count() <= 0) return finish(group);
      patience_ms = static_cast<int>(left.count());
    }
    const Result<Input> waited = wait(patience_ms);
    if (!waited) return std::unexpected(waited.error());
    if (*waited == Input::kNothing) return finish(group);
    if (*waited == Input::kReady) {
      const Result<Input> more = read_some();
      if (!more) return std::unexpected(more.error());
      end_ = *more == Input::kEnd;
    } else {
      end_ = true;
    }
  }
  return finish(group);
}

}  // namespace millrace::client
