// KafkaLog: reads a Kafka topic by librdkafka.
//
// One thread per KafkaLog takes messages from librdkafka's queues, packs them into record batches and posts them
// to the loop. Each reader has a queue of its own, so that nothing of a former reader of a partition can reach the
// next one. librdkafka reads a partition at most once per client: a second reader of the same partition (a replay
// beside the one that follows) gets a client of its own, made when it is needed; beyond kMostHandles readers of
// one partition the next one waits until one ends.
//
// librdkafka 2.0 does not tell topic ids or leader epochs: a topic that was made anew is noticed only where the
// offset is out of its range.
#pragma once

#include <functional>
#include <memory>

#include "adapters/kafka_options.h"
#include "common/seams/log.h"
#include "common/seams/task_loop.h"

namespace millrace {

// Lives on one loop, which outlives it. Chunks may outlive it.
class KafkaLog final : public Log {
 public:
  static constexpr size_t kMostHandles = 4;

  // kInvalid: bad settings. Brokers are not contacted yet.
  static Result<std::unique_ptr<KafkaLog>> make(KafkaOptions options, TaskLoop& loop);
  ~KafkaLog() override;  // no reader may be left; may take as long as one request to a broker, half a second
  KafkaLog(const KafkaLog&) = delete;
  KafkaLog& operator=(const KafkaLog&) = delete;

  void describe(std::move_only_function<void(Result<LogDescription>)> done) override;
  void find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) override;
  [[nodiscard]] std::unique_ptr<LogReader> open(const LogReaderOptions& options, LogReaderHandler* handler) override;
  void prepare_to_end() override;

 private:
  class Core;
  class Reader;
  explicit KafkaLog(std::shared_ptr<Core> core);

  std::shared_ptr<Core> core_;
};

}  // namespace millrace
