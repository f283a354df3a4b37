// KafkaOnceWriter: appends requests with an idempotency key to a Kafka topic, each once, whoever of the writers of the
// topic gets it how often: key and records are one transaction (docs/decisions/0010-idempotency-keys-in-kafka.md).
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "adapters/kafka_options.h"
#include "adapters/kafka_request_keys.h"
#include "adapters/kafka_transactions.h"
#include "adapters/writes_under_way.h"
#include "common/base/error.h"
#include "common/base/time.h"
#include "common/seams/record_writer.h"

namespace millrace {

class KafkaOnceWriter {
 public:
  static constexpr Duration kTimeout = std::chrono::seconds(10);  // of a request

  KafkaOnceWriter(KafkaOptions options, size_t most_bytes);
  // Answers all that is under way.
  ~KafkaOnceWriter();
  KafkaOnceWriter(const KafkaOnceWriter&) = delete;
  KafkaOnceWriter& operator=(const KafkaOnceWriter&) = delete;

  static std::string topic_of_keys(const KafkaOptions& options) { return options.topic + ".keys"; }

  // How many partitions the topic of keys has, 0: there is none; to be told again and again. They must stay as many,
  // since they say where a key is looked for.
  void set_partitions(int32_t partitions);

  // As RecordWriter::write(). kInvalid: there is no topic of keys.
  void write(WriteRequest request, RecordWriter::Done done);
  [[nodiscard]] Duration oldest_wait() const { return writes_.oldest_wait(); }

 private:
  using Time = WritesUnderWay::Time;

  struct Request {
    WriteRequest request;
    WritesUnderWay::Write* write = nullptr;
    bool may_be_stored = false;
    std::vector<WrittenRange> places;  // of its records, when they are delivered
  };
  // The requests of a partition of the topic of keys; its thread begins with the first.
  struct Lane {
    std::mutex mutex;
    std::condition_variable_any changed;
    std::deque<Request> waiting;  // guarded by mutex
    std::jthread thread;          // guarded by mutex
  };
  // What the thread of a lane has for itself.
  struct Owner;

  void serve(Lane& lane, LogPartition partition, const std::stop_token& stop);
  static void pause(Lane& lane, const std::stop_token& stop, Duration most);
  [[nodiscard]] std::string id_of(LogPartition partition) const;
  [[nodiscard]] std::unique_ptr<KafkaTransactions> make_producer(const std::atomic<bool>& stopping) const;
  Status take_partition(Owner& owner);
  static Result<Offset> set_fence(KafkaTransactions& producer, LogPartition partition);
  std::vector<Request> take_requests(Lane& lane, Owner& owner);
  static Status store(Owner& owner, std::vector<Request>& batch);
  void give_back(Lane& lane, std::vector<Request> batch, const Error& error, Owner& owner);
  void answer_late(Lane& lane, const std::string& why);
  void end(Lane& lane);
  [[nodiscard]] Error explain(rd_kafka_resp_err_t error, const std::string& text) const;
  [[nodiscard]] std::string place() const { return "kafka://" + options_.brokers + "/" + options_.topic + ": "; }

  const KafkaOptions options_;
  const size_t most_record_bytes_;
  WritesUnderWay writes_;
  std::atomic<bool> stopping_ = false;

  std::mutex mutex_;                          // guards what follows
  std::optional<int32_t> partitions_;         // as they were told last
  std::optional<Time> missing_since_;         // the topic of keys
  std::vector<std::unique_ptr<Lane>> lanes_;  // as many as there were first; a lane stays where it is
};

}  // namespace millrace
