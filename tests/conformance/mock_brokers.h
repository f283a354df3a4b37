// MockBrokers: two brokers of librdkafka's mock cluster, older than Kafka 3.1, and a topic whose partitions are all led
// by kOther.
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <chrono>
#include <string>
#include <vector>

#include "common/base/check.h"

namespace millrace {

class MockBrokers {
 public:
  static constexpr char kTopic[] = "lines";
  static constexpr int kPartitions = 4;
  static constexpr int kBroker = 1;
  static constexpr int kOther = 2;

  MockBrokers() {
    char text[512];
    client_ = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    CHECK(client_ != nullptr) << text;
    cluster_ = rd_kafka_mock_cluster_new(client_, 2);
    rd_kafka_mock_topic_create(cluster_, kTopic, kPartitions, 1);
    for (int partition = 0; partition < kPartitions; ++partition) {
      rd_kafka_mock_partition_set_leader(cluster_, kTopic, partition, kOther);
    }
  }
  ~MockBrokers() {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(client_);
  }
  MockBrokers(const MockBrokers&) = delete;
  MockBrokers& operator=(const MockBrokers&) = delete;

  [[nodiscard]] std::string address() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }
  void stop(int broker) { rd_kafka_mock_broker_set_down(cluster_, broker); }
  // The next answers to requests of that kind.
  void answer_with(int16_t request, const std::vector<rd_kafka_resp_err_t>& errors) {
    rd_kafka_mock_push_request_errors_array(cluster_, request, errors.size(), errors.data());
  }
  void answer_after(std::chrono::milliseconds time) {
    for (const int broker : {kBroker, kOther}) {
      rd_kafka_mock_broker_set_rtt(cluster_, broker, static_cast<int>(time.count()));
    }
  }
  void answer_for_topic_with(rd_kafka_resp_err_t error) { rd_kafka_mock_topic_set_error(cluster_, kTopic, error); }

 private:
  rd_kafka_t* client_;
  rd_kafka_mock_cluster_t* cluster_;
};

}  // namespace millrace
