// BoundedLog: a log that ends where it ended when it was first described: what is appended later is not part of it.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "common/seams/log.h"

namespace millrace {

// Where it begins and ends, shared by all that read the same log. Thread-safe.
class LogBounds {
 public:
  // The first description's, for all who ask later.
  LogDescription bound(LogDescription now) {
    const std::scoped_lock lock(mutex_);
    if (!first_) first_ = now;
    for (LogDescription::Partition& partition : now.partitions) {
      for (const LogDescription::Partition& known : first_->partitions) {
        if (known.id == partition.id) partition.end = known.end;
      }
    }
    return now;
  }
  // None: not described yet.
  [[nodiscard]] std::optional<LogDescription> first() const {
    const std::scoped_lock lock(mutex_);
    return first_;
  }
  [[nodiscard]] std::optional<Offset> end(LogPartition partition) const {
    const std::scoped_lock lock(mutex_);
    if (!first_) return std::nullopt;
    for (const LogDescription::Partition& known : first_->partitions) {
      if (known.id == partition) return known.end;
    }
    return std::nullopt;
  }

 private:
  mutable std::mutex mutex_;
  std::optional<LogDescription> first_;
};

// Lives on the loop of the log that it bounds.
class BoundedLog final : public Log {
 public:
  BoundedLog(std::unique_ptr<Log> log, std::shared_ptr<LogBounds> bounds)
      : log_(std::move(log)), bounds_(std::move(bounds)) {}

  void describe(std::move_only_function<void(Result<LogDescription>)> done) override {
    log_->describe([bounds = bounds_, done = std::move(done)](Result<LogDescription> description) mutable {
      if (description) description = bounds->bound(std::move(*description));
      done(std::move(description));
    });
  }

  void find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) override {
    log_->find_time(time_ms, [bounds = bounds_, done = std::move(done)](Result<LogOffsets> found) mutable {
      if (!found) return done(std::move(found));
      for (auto& [partition, offset] : *found) {
        if (const std::optional<Offset> end = bounds->end(partition)) offset = std::min(offset, *end);
      }
      done(std::move(found));
    });
  }

  [[nodiscard]] std::unique_ptr<LogReader> open(const LogReaderOptions& options, LogReaderHandler* handler) override {
    LogReaderOptions bounded = options;
    const std::optional<Offset> end = bounds_->end(options.partition);
    if (end) bounded.until = std::min(options.until.value_or(*end), *end);
    if (bounded.until && options.from >= *bounded.until) return std::make_unique<LogReader>();  // nothing is left
    return log_->open(bounded, handler);
  }

 private:
  const std::unique_ptr<Log> log_;
  const std::shared_ptr<LogBounds> bounds_;
};

}  // namespace millrace
