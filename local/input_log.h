// InputLog: lines that cannot be read twice, from standard input or a receiver, as a log in memory: they stay until
// they are counted. Knows where each of them came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "adapters/memory_log.h"
#include "common/seams/clock.h"
#include "common/seams/receiver.h"

namespace millrace {

// Thread-safe; the calls of ReceiverTarget by one thread.
class InputLog final : public ReceiverTarget {
 public:
  InputLog(int32_t partitions, const Clock& clock);

  bool append(const ReceivedLines& lines) override;
  void tell_problem(std::string problem) override;
  void tell_share(double share) override;
  void end(Status status) override;

  // append() takes no more, and who waits there returns.
  void close() { topic_->close(); }
  // What is below these offsets has been counted.
  void forget_below(const LogOffsets& offsets);
  [[nodiscard]] std::unique_ptr<Log> reader(TaskLoop& loop) const { return std::make_unique<MemoryLog>(topic_, loop); }

  // What has come so far.
  [[nodiscard]] LogDescription description() const { return topic_->describe(); }
  // What came in all; none: it has not ended.
  [[nodiscard]] std::optional<LogDescription> whole() const;
  // How much of what will come has come, from 0 to 1; 0: that is not known.
  [[nodiscard]] double share() const;
  // What is in the way just now; empty: nothing.
  [[nodiscard]] std::string problem() const;
  // Why it ended before its time; empty: it did not.
  [[nodiscard]] std::string failure() const;
  // "line 17", or "line 17 of NAME".
  [[nodiscard]] std::string place_of(LogPartition partition, Offset offset) const;

 private:
  // Lines of one append.
  struct Group {
    LogPartition partition;
    Offset from;
    std::shared_ptr<const std::string> origin;
    int64_t first_line = 0;
  };

  // Constant after construction.
  const int32_t partitions_;
  const Clock& clock_;  // outlives this
  const std::shared_ptr<MemoryTopic> topic_;

  LogPartition next_{0};  // append()'s

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::deque<Group> groups_;  // in the order of the input; the newest ones
  std::optional<LogDescription> whole_;
  double share_ = 0;
  std::string problem_;
  std::string failure_;
};

}  // namespace millrace
