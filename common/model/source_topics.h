// SourceTopics: the topics that a job's source names (embedded logs are topics here), and which log partition each of
// their partitions is.
//
// Numbers of log partitions are recorded with what a job has counted, so that they never change: the partitions of the
// source's first topic are 0, 1, 2..., those of the topic after it 2^20 more, and so on. A topic can grow whenever it
// likes, and a source of one topic has that topic's own numbers. The order in which a source names its topics is part
// of it.
#pragma once

#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/uri.h"

namespace millrace {

inline constexpr int kTopicShift = 20;
inline constexpr int32_t kMostTopicPartitions = 1 << kTopicShift;

[[nodiscard]] constexpr LogPartition log_partition(size_t topic, int32_t partition) {
  return LogPartition(static_cast<int32_t>(topic) * kMostTopicPartitions + partition);
}
[[nodiscard]] constexpr size_t topic_index(LogPartition partition) {
  return static_cast<size_t>(partition.value()) >> kTopicShift;
}
// Its number in its topic.
[[nodiscard]] constexpr int32_t topic_partition(LogPartition partition) {
  return partition.value() & (kMostTopicPartitions - 1);
}
// For what is said without knowing the names: "log partition 3", "log partition 3 of topic 2" (the second one).
[[nodiscard]] std::string text_of(LogPartition partition);

class SourceTopics {
 public:
  static constexpr size_t kMost = 32;  // each has clients of its own in each lane

  SourceTopics() = default;
  // Of kafka://HOST:PORT/TOPIC,TOPIC or log://NAME,NAME. kInvalid: a name is empty, none, or there twice.
  static Result<SourceTopics> parse(const Uri& source);
  // The same where a source that is no such one has none.
  static SourceTopics of(const std::string& source);

  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] bool several() const { return names_.size() > 1; }
  // Empty: no topic of these.
  [[nodiscard]] std::string name_of(LogPartition partition) const;
  // "log partition 3"; of several topics "partition 3 of topic 'orders'".
  [[nodiscard]] std::string place(LogPartition partition) const;
  // "3"; of several topics "orders:3".
  [[nodiscard]] std::string label(LogPartition partition) const;

 private:
  explicit SourceTopics(std::vector<std::string> names) : names_(std::move(names)) {}

  std::vector<std::string> names_;
};

}  // namespace millrace
