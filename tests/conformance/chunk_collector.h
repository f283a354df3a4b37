// ChunkCollector: a handler of a log reader whose test waits for what it collects.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/model/record_batch.h"
#include "common/seams/log.h"

namespace millrace {

// Collects what a reader delivers; the test's thread waits for it.
class ChunkCollector final : public LogReaderHandler {
 public:
  explicit ChunkCollector(bool hold = false) : hold_(hold) {}

  void on_chunk(LogChunk chunk) override {
    const std::scoped_lock lock(mutex_);
    if (!ranges_.empty() && ranges_.back().to != chunk.range.from) contiguous_ = false;
    if (ended_) broken_ = "a chunk comes after the end";
    away_ = false;
    ranges_.push_back(chunk.range);
    int64_t found = 0;
    RecordBatchCursor batches(chunk.bytes.view());
    for (RecordBatchView batch; batches.next(batch);) {
      if (batch.is_control()) continue;
      RecordCursor records(batch);
      for (RecordView record; records.next(record);) {
        if (!chunk.range.contains(record.offset)) continue;
        ++found;
        offsets_.push_back(record.offset.value());
        values_.emplace_back(record.value);
        keys_.push_back(record.has_key ? std::optional<std::string>(record.key) : std::nullopt);
      }
      if (!records.status()) broken_ = records.status().error().message;
    }
    if (!batches.status()) broken_ = batches.status().error().message;
    if (found != chunk.records) broken_ = "the chunk counts " + std::to_string(chunk.records) + " records";
    held_bytes_ += chunk.bytes.size();
    largest_ = std::max(largest_, chunk.bytes.size());
    if (hold_) held_.push_back(std::move(chunk));
    changed_.notify_all();
  }

  void on_log_error(LogPartition, const Error& error) override {
    const std::scoped_lock lock(mutex_);
    if (ended_) broken_ = "an error comes after the end";
    if (error.code != ErrorCode::kUnavailable) {
      ended_ = true;
    } else if (std::exchange(away_, true)) {
      broken_ = "it is said twice that it is away";
    }
    errors_.push_back(error.code);
    last_error_ = error.message;
    changed_.notify_all();
  }

  void on_log_back(LogPartition) override {
    const std::scoped_lock lock(mutex_);
    if (!std::exchange(away_, false)) broken_ = "it is back and was not away";
    changed_.notify_all();
  }

  template <typename Predicate>
  bool wait(Predicate predicate) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), predicate);
  }
  bool wait_for_records(size_t count) {
    return wait([&] { return values_.size() >= count; });
  }
  bool wait_for_offset(Offset offset) {
    return wait([&] { return !ranges_.empty() && ranges_.back().to >= offset; });
  }
  bool wait_for_error(ErrorCode code) {
    return wait([&] { return !errors_.empty() && errors_.back() == code; });
  }

  bool wait_until_away(bool away = true) {
    return wait([&] { return away_ == away; });
  }

  std::vector<std::string> values() {
    const std::scoped_lock lock(mutex_);
    EXPECT_TRUE(contiguous_) << "chunks have a gap between them";
    EXPECT_EQ(broken_, "");
    return values_;
  }
  std::vector<std::optional<std::string>> keys() {
    const std::scoped_lock lock(mutex_);
    return keys_;
  }
  std::vector<int64_t> offsets() {
    const std::scoped_lock lock(mutex_);
    return offsets_;
  }
  std::vector<OffsetRange> ranges() {
    const std::scoped_lock lock(mutex_);
    return ranges_;
  }
  std::vector<ErrorCode> errors() {
    const std::scoped_lock lock(mutex_);
    return errors_;
  }
  std::string last_error() {
    const std::scoped_lock lock(mutex_);
    return last_error_;
  }
  std::pair<size_t, size_t> held_and_largest() {
    const std::scoped_lock lock(mutex_);
    return {held_bytes_, largest_};
  }
  // Gives the held chunks back, and holds no more.
  std::vector<LogChunk> release() {
    const std::scoped_lock lock(mutex_);
    hold_ = false;
    return std::exchange(held_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool hold_;
  bool contiguous_ = true;
  bool away_ = false;   // it was told that it is unavailable, and nothing since
  bool ended_ = false;  // by an error
  std::string broken_;
  std::vector<OffsetRange> ranges_;
  std::vector<int64_t> offsets_;
  std::vector<std::string> values_;
  std::vector<std::optional<std::string>> keys_;
  std::vector<ErrorCode> errors_;
  std::string last_error_;
  std::vector<LogChunk> held_;
  size_t held_bytes_ = 0;
  size_t largest_ = 0;
};

inline std::vector<std::string> numbered(const std::string& prefix, int from, int to, size_t size = 0) {
  std::vector<std::string> values;
  for (int number = from; number < to; ++number) {
    std::string value = prefix + std::to_string(number);
    if (value.size() < size) value.resize(size, '.');
    values.push_back(std::move(value));
  }
  return values;
}

}  // namespace millrace
