// DirectKafkaLog: reads a Kafka topic by Fetch requests of its own, and hands record batches on where they were
// received: no record is touched on the way to the map, which is most of what reading by a general client costs.
//
// What is asked rarely (offsets, times, the topic's settings) is asked through librdkafka, and so is read what a direct
// reader does not understand: older brokers and formats, a topic without an id, a replica that is not the leader. That
// reader goes on by librdkafka from where it was, and the log of people has it.
//
// One thread for all readers of the log, one connection for each of them.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "adapters/kafka_fetch_loop.h"
#include "adapters/kafka_options.h"
#include "adapters/kafka_reader_settings.h"
#include "common/seams/log.h"
#include "common/seams/task_loop.h"

namespace millrace {

// Lives on one loop, which outlives it. Chunks may outlive it.
class DirectKafkaLog final : public Log {
 public:
  // `options` are checked, and `settings` are what direct_reader_settings() makes of them. Brokers are not contacted
  // yet.
  DirectKafkaLog(KafkaOptions options, KafkaReaderSettings settings, TaskLoop& loop)
      : options_(std::move(options)), loop_(loop), fetch_loop_(std::move(settings)) {}
  ~DirectKafkaLog() override;  // no reader may be left
  DirectKafkaLog(const DirectKafkaLog&) = delete;
  DirectKafkaLog& operator=(const DirectKafkaLog&) = delete;

  void describe(std::move_only_function<void(Result<LogDescription>)> done) override;
  void find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) override;
  [[nodiscard]] std::unique_ptr<LogReader> open(const LogReaderOptions& options, LogReaderHandler* handler) override;
  void prepare_to_end() override;

 private:
  class Reader;
  class ToLoop;
  Result<Log*> librdkafka();
  template <typename Answer>
  void answer(std::move_only_function<void(Result<Answer>)> done, Result<Answer> what);

  const KafkaOptions options_;
  TaskLoop& loop_;
  std::unique_ptr<Log> librdkafka_;                                   // made when it is needed: most logs are only read
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // gone when this is; looked at on the loop
  KafkaFetchLoop fetch_loop_;
  size_t readers_ = 0;
};

}  // namespace millrace
