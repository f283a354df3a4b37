// MemoryLog: reads a MemoryTopic: records of this process that are held in memory until whoever put them there says
// that they are not needed any more. For input that cannot be read twice, such as a pipe.
//
// Each append is one record batch, and one chunk of every reader.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "common/seams/log.h"
#include "common/seams/task_loop.h"

namespace millrace {

// Thread-safe; one thread appends.
class MemoryTopic {
 public:
  // `max_bytes`: what it holds at most, or one append if that alone is more.
  MemoryTopic(int32_t partitions, size_t max_bytes);

  // Appends the records, at least one, in their order. Waits while the topic is full. False: it was closed; nothing was
  // taken.
  bool append(LogPartition partition, std::span<const std::string_view> records, int64_t timestamp_ms);
  // No append is taken from now on, and none waits.
  void close();
  // Records below the offset are not needed any more: appends of which none is needed go.
  void forget_below(LogPartition partition, Offset offset);

  [[nodiscard]] LogDescription describe() const;
  [[nodiscard]] Offset end(LogPartition partition) const;
  // As Log::find_time().
  [[nodiscard]] Result<LogOffsets> find_time(int64_t time_ms) const;

 private:
  friend class MemoryLog;
  struct Reader;
  struct Appended {
    OffsetRange range;
    SharedBuffer bytes;
  };
  struct Partition {
    Offset begin;
    Offset end;
    std::deque<Appended> appended;  // ascending, without gaps
    std::vector<std::weak_ptr<Reader>> readers;
  };

  // What holds the record of that offset; bytes that are empty: it is still to come.
  Result<Appended> find(LogPartition partition, Offset offset) const;
  void add_reader(const std::shared_ptr<Reader>& reader);
  [[nodiscard]] Partition& at(LogPartition partition);
  [[nodiscard]] const Partition& at(LogPartition partition) const;

  // Constant after construction.
  const size_t max_bytes_;

  // Guarded by mutex_.
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::vector<Partition> partitions_;
  size_t held_bytes_ = 0;
  bool closed_ = false;
};

// Lives on one loop, which outlives it. Chunks may outlive it.
class MemoryLog final : public Log {
 public:
  MemoryLog(std::shared_ptr<MemoryTopic> topic, TaskLoop& loop);

  void describe(std::move_only_function<void(Result<LogDescription>)> done) override;
  void find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) override;
  [[nodiscard]] std::unique_ptr<LogReader> open(const LogReaderOptions& options, LogReaderHandler* handler) override;

 private:
  struct Alive {};

  const std::shared_ptr<MemoryTopic> topic_;
  TaskLoop& loop_;
  const std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();
};

}  // namespace millrace
