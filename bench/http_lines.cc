#include "bench/http_lines.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace millrace {
namespace {

constexpr size_t kReadAtOnce = 64u << 10;
constexpr std::string_view kEndOfHead = "\r\n\r\n";

std::string reason() {
  return std::strerror(errno);
}

// The value of Content-Length; every answer has one.
size_t length_of(std::string_view head) {
  constexpr std::string_view kName = "content-length:";
  const auto same = [](char one, char other) { return (one | 0x20) == (other | 0x20); };
  const auto found = std::ranges::search(head, kName, same);
  if (found.empty()) give_up("an answer has no Content-Length: " + std::string(head.substr(0, 200)));
  const char* begin = found.end();
  while (*begin == ' ') ++begin;
  size_t length = 0;
  std::from_chars(begin, head.data() + head.size(), length);
  return length;
}

int status_of(std::string_view head) {
  int status = 0;
  if (head.size() > 12) std::from_chars(head.data() + 9, head.data() + 12, status);
  return status;
}

}  // namespace

void give_up(const std::string& problem) {
  std::fprintf(stderr, "%s\n", problem.c_str());
  std::exit(1);
}

HttpLines::HttpLines(uint16_t port) : port_(port), poll_(epoll_create1(EPOLL_CLOEXEC)), buffer_(kReadAtOnce, '\0') {}

size_t HttpLines::open(Heard heard) {
  return add(
      {.socket = FileDescriptor(), .heard = std::move(heard), .heard_part = nullptr, .received = "", .unsent = ""});
}

size_t HttpLines::open_stream(HeardPart heard) {
  return add(
      {.socket = FileDescriptor(), .heard = nullptr, .heard_part = std::move(heard), .received = "", .unsent = ""});
}

size_t HttpLines::add(Line line) {
  line.socket = FileDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port_);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;
  if (line.socket.get() < 0 ||
      connect(line.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      setsockopt(line.socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
    give_up("no connection to port " + std::to_string(port_) + ": " + reason());
  }
  epoll_event event{.events = EPOLLIN, .data = {.u64 = lines_.size()}};
  if (epoll_ctl(poll_.get(), EPOLL_CTL_ADD, line.socket.get(), &event) != 0) give_up("epoll: " + reason());
  lines_.push_back(std::move(line));
  return lines_.size() - 1;
}

void HttpLines::send(size_t line, std::string_view request) {
  lines_[line].unsent = request;
  write(line);
}

void HttpLines::write(size_t number) {
  Line& line = lines_[number];
  const ssize_t sent = ::send(line.socket.get(), line.unsent.data(), line.unsent.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && errno != EAGAIN) give_up("a connection broke: " + reason());
  if (sent > 0) line.unsent.erase(0, static_cast<size_t>(sent));
  // As a rule all of it was taken at once, and nobody waits for the rest.
  if (line.unsent.empty()) return;
  epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.u64 = number}};
  epoll_ctl(poll_.get(), EPOLL_CTL_MOD, line.socket.get(), &event);
}

void HttpLines::run_until(Clock::time_point end) {
  std::array<epoll_event, 256> events{};
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(end - Clock::now()).count();
    const timespec limit{.tv_sec = std::max<int64_t>(left, 0) / 1'000'000'000,
                         .tv_nsec = std::max<int64_t>(left, 0) % 1'000'000'000};
    const int count = epoll_pwait2(poll_.get(), events.data(), events.size(), &limit, nullptr);
    if (count < 0 && errno != EINTR) give_up("epoll: " + reason());
    for (int i = 0; i < count; ++i) {
      const size_t number = events[static_cast<size_t>(i)].data.u64;
      if ((events[static_cast<size_t>(i)].events & EPOLLOUT) != 0) {
        epoll_event event{.events = EPOLLIN, .data = {.u64 = number}};
        epoll_ctl(poll_.get(), EPOLL_CTL_MOD, lines_[number].socket.get(), &event);
        write(number);
      }
      if ((events[static_cast<size_t>(i)].events & ~EPOLLOUT) != 0) read(number);
    }
    if (left <= 0) return;
  }
}

void HttpLines::read(size_t number) {
  Line& line = lines_[number];
  const ssize_t got = recv(line.socket.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) give_up("the server closed a connection" + (got < 0 ? ": " + reason() : ""));
  const std::string_view bytes(buffer_.data(), static_cast<size_t>(got));
  if (line.streaming) return line.heard_part(number, bytes);
  line.received += bytes;
  if (line.heard) return take_answers(number);
  take_stream(number);
}

void HttpLines::take_stream(size_t number) {
  Line& line = lines_[number];
  const size_t end = line.received.find(kEndOfHead);
  if (end == std::string::npos) return;
  if (status_of(line.received) != 200) give_up("a stream is refused: " + line.received);
  line.streaming = true;
  line.received.erase(0, end + kEndOfHead.size());
  line.heard_part(number, line.received);
  line.received.clear();
}

void HttpLines::take_answers(size_t number) {
  const size_t head_end = lines_[number].received.find(kEndOfHead);
  if (head_end == std::string::npos) return;
  const size_t body_begin = head_end + kEndOfHead.size();
  const size_t length = length_of(std::string_view(lines_[number].received).substr(0, body_begin));
  if (lines_[number].received.size() < body_begin + length) return;
  // One request at a time: nothing stands behind its answer. The call may send the next one.
  const std::string whole = std::exchange(lines_[number].received, {});
  lines_[number].heard(number, {status_of(whole), std::string_view(whole).substr(body_begin, length)});
}

}  // namespace millrace
