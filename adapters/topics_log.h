// TopicsLog: several topics as one log, whose partitions are numbered as common/model/source_topics.h says. Each topic
// is a log of its own, of whatever kind.
#pragma once

#include <memory>
#include <vector>

#include "common/seams/log.h"

namespace millrace {

// Between the ids of topics in the one of their log.
inline constexpr char kTopicIdSeparator = ',';

// Lives on the loop of its topics' logs.
class TopicsLog final : public Log {
 public:
  // In the order in which the source names them.
  explicit TopicsLog(std::vector<std::unique_ptr<Log>> topics);
  ~TopicsLog() override;  // takes as long as the slowest topic's
  TopicsLog(const TopicsLog&) = delete;
  TopicsLog& operator=(const TopicsLog&) = delete;

  // All topics have to be there; an error is that of the first one that has one.
  void describe(std::move_only_function<void(Result<LogDescription>)> done) override;
  void find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) override;
  [[nodiscard]] std::unique_ptr<LogReader> open(const LogReaderOptions& options, LogReaderHandler* handler) override;

 private:
  class Reader;

  const std::vector<std::unique_ptr<Log>> topics_;
};

}  // namespace millrace
