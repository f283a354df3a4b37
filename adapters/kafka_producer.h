// KafkaProducer: appends records to a topic: each once and in the order of the calls per partition (idempotent,
// acknowledged by all replicas), for the command line and tests.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "adapters/kafka_options.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/time.h"

namespace millrace {

// Blocks; used by one thread.
class KafkaProducer {
 public:
  // kInvalid: bad settings. kNotFound: no such topic. kUnavailable, kTimeout: the brokers did not answer in time.
  static Result<std::unique_ptr<KafkaProducer>> open(const KafkaOptions& options,
                                                     Duration timeout = std::chrono::seconds(10));
  ~KafkaProducer();
  KafkaProducer(const KafkaProducer&) = delete;
  KafkaProducer& operator=(const KafkaProducer&) = delete;

  // Queues a record without a key; without a partition they are spread. Waits while the queue is full. The error of
  // any earlier record that could not be delivered.
  Status append(std::string_view value, std::optional<LogPartition> partition = {});
  // Waits until everything appended is acknowledged. kTimeout: some may be or may not be there.
  Status flush(Duration timeout = std::chrono::seconds(60));
  // Records that were acknowledged.
  [[nodiscard]] int64_t delivered() const;

 private:
  class Client;
  explicit KafkaProducer(std::unique_ptr<Client> client);
  std::unique_ptr<Client> client_;
};

}  // namespace millrace
