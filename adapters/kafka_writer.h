// KafkaWriter: appends to a Kafka topic by librdkafka's idempotent producer, each record by itself: acknowledged by all
// replicas, its partition by the key as Kafka's own clients choose it (murmur2), or spread.
//
// A record that librdkafka cannot deliver is repeated by librdkafka, which does not double it, until its time is over.
// Requests with an idempotency key go by KafkaOnceWriter.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "adapters/kafka_once_writer.h"
#include "adapters/kafka_options.h"
#include "adapters/kafka_producer_client.h"
#include "adapters/writes_under_way.h"
#include "common/seams/record_writer.h"

namespace millrace {

class KafkaWriter final : public RecordWriter {
 public:
  static constexpr size_t kMostBytes = 64u << 20;  // of records that are under way; as much again with keys

  // Connects by itself, and goes on trying; until the topic was seen requests are refused (kUnavailable). kInvalid: bad
  // settings.
  static Result<std::unique_ptr<KafkaWriter>> open(const KafkaOptions& options, size_t most_bytes = kMostBytes);
  ~KafkaWriter() override;

  void write(WriteRequest request, Done done) override;
  [[nodiscard]] Health health() const override;

 private:
  KafkaWriter(const KafkaOptions& options, size_t most_bytes)
      : options_(options), writes_(most_bytes), once_(options, most_bytes) {}

  Result<std::shared_ptr<KafkaProducerClient>> make_client();
  void watch(const std::stop_token& stop);
  void serve(const std::stop_token& stop);
  void look(KafkaProducerClient& client);
  void on_delivery(const rd_kafka_message_t& message);
  void fail_record(WritesUnderWay::Write* write, rd_kafka_resp_err_t error, bool may_be_stored);
  [[nodiscard]] std::string place() const;

  const KafkaOptions options_;

  WritesUnderWay writes_;
  KafkaOnceWriter once_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  std::shared_ptr<KafkaProducerClient> client_;  // never null once it is open
  bool seen_ = false;                            // the topic, by this client
  std::string problem_;                          // empty: none

  std::jthread watching_, serving_;
};

}  // namespace millrace
