// KafkaOptions: which topic of which brokers, and how to reach them.
#pragma once

#include <map>
#include <string>

#include "common/base/error.h"

namespace millrace {

// A setting of ours among librdkafka's: adapters/kafka_reader_choice.h.
inline constexpr char kKafkaReaderSetting[] = "millrace.reader";

struct KafkaOptions {
  std::string brokers;  // host:port[,host:port]
  std::string topic;
  std::map<std::string, std::string> config;  // any librdkafka setting; may hold secrets: never printed
  size_t partitions = 0;                      // of the topic, as far as it is known: they share the memory of a client
  std::string topic_id;                       // of the one that is meant, as its description has it; empty: not known
  std::string option = "--source";            // where people have named it, for errors
};

// kInvalid with the name of a setting that librdkafka does not know, that has a bad value, or that is not for users
// to set.
Status check_kafka_options(const KafkaOptions& options);

}  // namespace millrace
