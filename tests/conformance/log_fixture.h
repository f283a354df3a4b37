// LogFixture: a log on a loop of its own, and its readers, as tests of logs have them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/runtime/event_loop.h"
#include "common/seams/log.h"

namespace millrace {

class LogFixture : public testing::Test {
 public:
  LogFixture() { loop_.start(); }
  ~LogFixture() override {
    delete_log();
    loop_.stop();
    loop_.join();
  }

  // Returns the reader's number for close().
  size_t open(LogReaderHandler& handler, LogPartition partition, int64_t from, std::optional<int64_t> until = {},
              size_t read_ahead_bytes = 32 << 20) {
    LogReaderOptions options{partition, Offset(from), std::nullopt, read_ahead_bytes};
    if (until) options.until = Offset(*until);
    loop_.run_and_wait([&] { readers_.push_back(log_->open(options, &handler)); });
    return readers_.size() - 1;
  }
  void close(size_t reader) {
    loop_.run_and_wait([&] { readers_[reader] = nullptr; });
  }
  void close_all() {
    loop_.run_and_wait([&] { readers_.clear(); });
  }
  void delete_log() {
    loop_.run_and_wait([&] {
      readers_.clear();
      log_ = nullptr;
    });
  }

  Result<LogDescription> describe(Log& log) {
    std::promise<Result<LogDescription>> answer;
    loop_.post([&] { log.describe([&](Result<LogDescription> got) { answer.set_value(std::move(got)); }); });
    return answer.get_future().get();
  }

  Result<LogOffsets> find_time(Log& log, int64_t time_ms) {
    std::promise<Result<LogOffsets>> answer;
    loop_.post([&] { log.find_time(time_ms, [&](Result<LogOffsets> got) { answer.set_value(std::move(got)); }); });
    return answer.get_future().get();
  }

  EventLoop loop_{"log-test"};
  std::unique_ptr<Log> log_;
  std::vector<std::unique_ptr<LogReader>> readers_;
};

}  // namespace millrace
