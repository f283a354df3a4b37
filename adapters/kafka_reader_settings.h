// What a direct reader of Kafka is told by whoever opens it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "adapters/kafka_connection.h"
#include "adapters/kafka_messages.h"
#include "common/base/time.h"
#include "common/model/address.h"

namespace millrace {

struct DirectKafkaTiming {
  Duration fetch_wait = std::chrono::milliseconds(500);   // a broker with nothing new answers after so long
  Duration connecting = std::chrono::seconds(10);         // to one address; socket.connection.setup.timeout.ms
  Duration silence = std::chrono::seconds(30);            // without one byte, beyond fetch_wait; socket.timeout.ms
  Duration error_pause = std::chrono::milliseconds(100);  // before the same is asked again
  Duration most_pause = std::chrono::seconds(1);          // before a broker is called again; it begins with error_pause
  Duration topic_may_be_away = std::chrono::seconds(30);  // topic.metadata.propagation.max.ms
  Duration keep_idle_memory = std::chrono::seconds(10);   // without a record
  Duration refresh = std::chrono::minutes(5);             // of who leads, and of which brokers there are

  // After so many calls in a row that failed.
  [[nodiscard]] Duration pause_after(int failed_calls) const {
    return std::min(error_pause * std::clamp(failed_calls, 0, 100), most_pause);
  }
};

struct KafkaReaderSettings {
  std::string topic;
  std::string brokers;                   // as people named them
  std::vector<HostPort> bootstrap;       // the same, one by one
  std::optional<KafkaTopicId> topic_id;  // of the one that is meant; nullopt: the first that is heard of
  std::string client_id = "millrace";
  bool committed = true;                   // isolation.level
  size_t most_answer_bytes = 100'000'000;  // receive.message.max.bytes
  KafkaConnection::Settings connection;
  DirectKafkaTiming timing;
};

}  // namespace millrace
