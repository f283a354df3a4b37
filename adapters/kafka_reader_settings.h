// What a direct reader of Kafka is told by whoever opens it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "adapters/kafka_connection.h"
#include "adapters/kafka_messages.h"
#include "common/base/time.h"

namespace millrace {

struct KafkaEndpoint {
  std::string host;
  uint16_t port = 0;
  bool operator==(const KafkaEndpoint&) const = default;
  [[nodiscard]] std::string text() const {
    return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
  }
};

struct DirectKafkaTiming {
  Duration fetch_wait = std::chrono::milliseconds(500);   // a broker with nothing new answers after so long
  Duration connecting = std::chrono::seconds(10);         // to one address; socket.connection.setup.timeout.ms
  Duration silence = std::chrono::seconds(30);            // without one byte, beyond fetch_wait; socket.timeout.ms
  Duration error_pause = std::chrono::milliseconds(100);  // before the same is asked again
  Duration most_pause = std::chrono::seconds(1);          // before a broker is called again; it begins with error_pause
  Duration topic_may_be_away = std::chrono::seconds(30);  // topic.metadata.propagation.max.ms
  Duration keep_idle_memory = std::chrono::seconds(10);   // without a record
  Duration refresh = std::chrono::minutes(5);             // of who leads, and of which brokers there are
  Duration brokers_lag = std::chrono::seconds(2);  // for so long one may not have heard that a topic was made anew
};

struct KafkaReaderSettings {
  std::string topic;
  std::string brokers;                   // as people named them
  std::vector<KafkaEndpoint> bootstrap;  // the same, one by one
  std::optional<KafkaTopicId> topic_id;  // of the one that is meant; nullopt: the first that is heard of
  std::string client_id = "millrace";
  bool committed = true;                   // isolation.level
  size_t most_answer_bytes = 100'000'000;  // receive.message.max.bytes
  KafkaConnection::Settings connection;
  DirectKafkaTiming timing;
};

}  // namespace millrace
