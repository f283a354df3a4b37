// Kept HTTP/1.1 connections without a thread of their own, for programs that measure a server beside which they must
// cost little: requests are made before, answers are looked at only where they say their status and their length.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/file_descriptor.h"

namespace millrace {

struct HttpAnswer {
  int status = 0;
  std::string_view body;  // valid during the call that gets it
};

// Connections to one server; one thread uses all of them. Whatever goes wrong with a connection ends the program with a
// message: a run with a broken connection is none.
class HttpLines {
 public:
  using Clock = std::chrono::steady_clock;
  using Heard = std::function<void(size_t line, const HttpAnswer& answer)>;
  using HeardPart = std::function<void(size_t line, std::string_view bytes)>;

  // To 127.0.0.1.
  explicit HttpLines(uint16_t port);

  // A connection whose answers `heard` gets. Its number: 0, 1, 2...
  size_t open(Heard heard);
  // One whose bytes it gets as they come, behind the head of its only answer.
  size_t open_stream(HeardPart heard);

  // Nothing may be under way on it.
  void send(size_t line, std::string_view request);
  // Hears what comes until then.
  void run_until(Clock::time_point end);

 private:
  struct Line {
    FileDescriptor socket;
    Heard heard;  // null: a stream
    HeardPart heard_part;
    std::string received;  // that is not a whole answer yet
    std::string unsent;
    bool streaming = false;  // the head of a stream is over
  };

  size_t add(Line line);
  void read(size_t number);
  void take_answers(size_t number);
  void take_stream(size_t number);
  void write(size_t number);

  const uint16_t port_;
  const FileDescriptor poll_;
  std::vector<Line> lines_;
  std::string buffer_;
};

[[noreturn]] void give_up(const std::string& problem);

}  // namespace millrace
