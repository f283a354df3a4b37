#include "adapters/topics_log.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/base/check.h"
#include "common/model/source_topics.h"

namespace millrace {
namespace {

LogPartition number_in_topic(LogPartition partition) {
  return LogPartition(topic_partition(partition));
}

// What one question to each topic has brought so far. All on one loop.
template <typename T>
struct TopicAnswers {
  using Merge = T (*)(std::vector<T>);
  TopicAnswers(size_t topics, Merge its_merge, std::move_only_function<void(Result<T>)> its_done)
      : answers(topics), missing(topics), merge(its_merge), done(std::move(its_done)) {}

  void take(size_t topic, Result<T> answer) {
    answers[topic] = std::move(answer);
    if (--missing > 0) return;
    std::vector<T> good;
    for (std::optional<Result<T>>& each : answers) {
      if (!*each) return done(std::unexpected(each->error()));
      good.push_back(std::move(**each));
    }
    done(merge(std::move(good)));
  }

  std::vector<std::optional<Result<T>>> answers;
  size_t missing;
  const Merge merge;
  std::move_only_function<void(Result<T>)> done;
};

LogDescription merge_descriptions(std::vector<LogDescription> topics) {
  LogDescription all;
  const bool all_have_ids = std::ranges::none_of(topics, &std::string::empty, &LogDescription::topic_id);
  for (size_t topic = 0; topic < topics.size(); ++topic) {
    const LogDescription& one = topics[topic];
    if (all_have_ids && topic > 0) all.topic_id += kTopicIdSeparator;
    if (all_have_ids) all.topic_id += one.topic_id;
    if (all.unfit.empty()) all.unfit = one.unfit;
    for (LogDescription::Partition partition : one.partitions) {
      CHECK_LT(partition.id.value(), kMostTopicPartitions);
      partition.id = log_partition(topic, partition.id.value());
      all.partitions.push_back(partition);
    }
  }
  return all;
}

LogOffsets merge_offsets(std::vector<LogOffsets> topics) {
  LogOffsets all;
  for (size_t topic = 0; topic < topics.size(); ++topic) {
    for (const auto& [partition, offset] : topics[topic]) all[log_partition(topic, partition.value())] = offset;
  }
  return all;
}

}  // namespace

class TopicsLog::Reader final : public LogReader, private LogReaderHandler {
 public:
  Reader(Log& topic, LogReaderOptions options, LogReaderHandler* handler)
      : partition_(options.partition), handler_(handler) {
    options.partition = number_in_topic(partition_);
    reader_ = topic.open(options, this);
  }

 private:
  // Each may end with the end of this.
  void on_chunk(LogChunk chunk) override {
    chunk.partition = partition_;
    handler_->on_chunk(std::move(chunk));
  }
  void on_log_error(LogPartition, const Error& error) override { handler_->on_log_error(partition_, error); }
  void on_log_back(LogPartition) override { handler_->on_log_back(partition_); }

  const LogPartition partition_;
  LogReaderHandler* const handler_;  // outlives this
  std::unique_ptr<LogReader> reader_;
};

TopicsLog::TopicsLog(std::vector<std::unique_ptr<Log>> topics) : topics_(std::move(topics)) {}

TopicsLog::~TopicsLog() {
  for (const auto& topic : topics_) topic->prepare_to_end();
}

void TopicsLog::describe(std::move_only_function<void(Result<LogDescription>)> done) {
  auto answers = std::make_shared<TopicAnswers<LogDescription>>(topics_.size(), merge_descriptions, std::move(done));
  for (size_t topic = 0; topic < topics_.size(); ++topic) {
    topics_[topic]->describe(
        [answers, topic](Result<LogDescription> answer) { answers->take(topic, std::move(answer)); });
  }
}

void TopicsLog::find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) {
  auto answers = std::make_shared<TopicAnswers<LogOffsets>>(topics_.size(), merge_offsets, std::move(done));
  for (size_t topic = 0; topic < topics_.size(); ++topic) {
    topics_[topic]->find_time(time_ms,
                              [answers, topic](Result<LogOffsets> answer) { answers->take(topic, std::move(answer)); });
  }
}

std::unique_ptr<LogReader> TopicsLog::open(const LogReaderOptions& options, LogReaderHandler* handler) {
  const size_t topic = topic_index(options.partition);
  CHECK_LT(topic, topics_.size()) << options.partition;
  return std::make_unique<Reader>(*topics_[topic], options, handler);
}

}  // namespace millrace
