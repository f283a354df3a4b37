// What the Kafka adapters share: settings of librdkafka, their validation, and what its errors mean to us.
#pragma once

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "adapters/kafka_options.h"
#include "common/base/error.h"
#include "common/base/time.h"

namespace millrace {

struct KafkaDeleter {
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
  void operator()(rd_kafka_topic_partition_list_t* list) const { rd_kafka_topic_partition_list_destroy(list); }
  void operator()(rd_kafka_ConfigResource_t* resource) const { rd_kafka_ConfigResource_destroy(resource); }
  void operator()(rd_kafka_AdminOptions_t* options) const { rd_kafka_AdminOptions_destroy(options); }
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
  void operator()(const rd_kafka_metadata_t* metadata) const { rd_kafka_metadata_destroy(metadata); }
  void operator()(rd_kafka_error_t* error) const { rd_kafka_error_destroy(error); }
  void operator()(rd_kafka_consumer_group_metadata_t* group) const { rd_kafka_consumer_group_metadata_destroy(group); }
  void operator()(rd_kafka_message_t* message) const { rd_kafka_message_destroy(message); }
  void operator()(rd_kafka_t* client) const { rd_kafka_destroy(client); }
};
// For so long a topic that a broker does not know may be one that was made a moment ago.
constexpr Duration kNewTopicTime = std::chrono::seconds(2);

using KafkaConf = std::unique_ptr<rd_kafka_conf_t, KafkaDeleter>;
using KafkaTopicHandle = std::unique_ptr<rd_kafka_topic_t, KafkaDeleter>;
using KafkaQueue = std::unique_ptr<rd_kafka_queue_t, KafkaDeleter>;
using KafkaPartitionList = std::unique_ptr<rd_kafka_topic_partition_list_t, KafkaDeleter>;
using KafkaConfigResource = std::unique_ptr<rd_kafka_ConfigResource_t, KafkaDeleter>;
using KafkaAdminOptions = std::unique_ptr<rd_kafka_AdminOptions_t, KafkaDeleter>;
using KafkaEvent = std::unique_ptr<rd_kafka_event_t, KafkaDeleter>;
using KafkaError = std::unique_ptr<rd_kafka_error_t, KafkaDeleter>;
using KafkaGroup = std::unique_ptr<rd_kafka_consumer_group_metadata_t, KafkaDeleter>;
using KafkaMessage = std::unique_ptr<rd_kafka_message_t, KafkaDeleter>;
using KafkaClient = std::unique_ptr<rd_kafka_t, KafkaDeleter>;
using RdKafkaMetadata = std::unique_ptr<const rd_kafka_metadata_t, KafkaDeleter>;

// Our settings first, then the user's, then those that correctness needs. kInvalid names the setting, never its
// value. Log lines of librdkafka go to ours.
Result<KafkaConf> make_kafka_conf(const KafkaOptions& options, const std::map<std::string, std::string>& ours,
                                  const std::map<std::string, std::string>& needed);

// kInvalid: librdkafka does not start with these settings.
Result<KafkaClient> make_kafka_client(rd_kafka_type_t type, KafkaConf conf);

// What an error of librdkafka asks of the caller: kNotFound, kDataLost, kInvalid (authentication, permission, TLS),
// kCorrupt, kTimeout, or kUnavailable for all that may pass.
ErrorCode kafka_error_code(rd_kafka_resp_err_t error);
Error kafka_error(const KafkaOptions& options, const std::string& what, rd_kafka_resp_err_t error);

}  // namespace millrace
