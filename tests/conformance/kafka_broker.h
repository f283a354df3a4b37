// The real Kafka of the tests that carry the label kafka.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapters/system_random.h"
#include "common/base/check.h"

namespace millrace {

inline std::string brokers() {
  const char* const address = std::getenv("MILLRACE_KAFKA");
  CHECK(address != nullptr) << "set MILLRACE_KAFKA=HOST:PORT (see scripts/kafka), or leave these out: ctest -LE kafka";
  return address;
}

inline rd_kafka_t* make_client(rd_kafka_type_t type, const std::vector<std::pair<std::string, std::string>>& settings) {
  rd_kafka_conf_t* const conf = rd_kafka_conf_new();
  char text[512];
  rd_kafka_conf_set(conf, "bootstrap.servers", brokers().c_str(), text, sizeof text);
  for (const auto& [name, value] : settings) {
    CHECK(rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text, sizeof text) == RD_KAFKA_CONF_OK) << text;
  }
  rd_kafka_t* const client = rd_kafka_new(type, conf, text, sizeof text);
  CHECK(client != nullptr) << text;
  return client;
}

inline void make_topic_named(const std::string& name, int partitions,
                             const std::vector<std::pair<std::string, std::string>>& settings = {}) {
  rd_kafka_t* const client = make_client(RD_KAFKA_PRODUCER, {});
  rd_kafka_queue_t* const queue = rd_kafka_queue_new(client);
  char text[512];
  rd_kafka_NewTopic_t* topic = rd_kafka_NewTopic_new(name.c_str(), partitions, 1, text, sizeof text);
  for (const auto& [setting, value] : settings) rd_kafka_NewTopic_set_config(topic, setting.c_str(), value.c_str());
  rd_kafka_CreateTopics(client, &topic, 1, nullptr, queue);
  rd_kafka_event_t* const done = rd_kafka_queue_poll(queue, 30'000);
  CHECK(done != nullptr);
  rd_kafka_event_destroy(done);
  rd_kafka_NewTopic_destroy(topic);
  rd_kafka_queue_destroy(queue);
  // It is made before the broker tells everybody.
  for (bool known = false; !known;) {
    const rd_kafka_metadata_t* found = nullptr;
    CHECK(rd_kafka_metadata(client, 1, nullptr, &found, 30'000) == RD_KAFKA_RESP_ERR_NO_ERROR);
    for (int i = 0; i < found->topic_cnt; ++i) {
      known = known || (found->topics[i].topic == name && found->topics[i].partition_cnt == partitions);
    }
    rd_kafka_metadata_destroy(found);
  }
  rd_kafka_destroy(client);
}

// Of a new name that begins so.
inline std::string make_topic(const std::string& kind, int partitions,
                              const std::vector<std::pair<std::string, std::string>>& settings = {}) {
  SystemRandom random;
  std::string name = kind + "-" + to_hex(random.next_id());
  make_topic_named(name, partitions, settings);
  return name;
}

struct CommittedRecord {
  std::optional<std::string> key;
  std::string value;
  int32_t partition = 0;
  int64_t offset = 0;
};

// What who reads committed records sees, up to what is stable.
inline std::vector<CommittedRecord> read_committed(const std::string& topic, int partitions) {
  rd_kafka_t* const client = make_client(RD_KAFKA_CONSUMER, {{"group.id", "readers"},
                                                             {"isolation.level", "read_committed"},
                                                             {"enable.partition.eof", "true"},
                                                             {"fetch.wait.max.ms", "10"},
                                                             {"auto.offset.reset", "earliest"},
                                                             {"enable.auto.commit", "false"}});
  rd_kafka_topic_partition_list_t* const list = rd_kafka_topic_partition_list_new(partitions);
  for (int partition = 0; partition < partitions; ++partition) {
    rd_kafka_topic_partition_list_add(list, topic.c_str(), partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
  }
  rd_kafka_assign(client, list);
  rd_kafka_topic_partition_list_destroy(list);
  std::vector<CommittedRecord> records;
  for (int ended = 0; ended < partitions;) {
    rd_kafka_message_t* const message = rd_kafka_consumer_poll(client, 30'000);
    CHECK(message != nullptr) << "the broker says nothing";
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) ++ended;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      CommittedRecord record;
      if (message->key != nullptr) record.key.emplace(static_cast<const char*>(message->key), message->key_len);
      record.value.assign(static_cast<const char*>(message->payload), message->len);
      record.partition = message->partition;
      record.offset = message->offset;
      records.push_back(std::move(record));
    }
    rd_kafka_message_destroy(message);
  }
  rd_kafka_consumer_close(client);
  rd_kafka_destroy(client);
  return records;
}

}  // namespace millrace
