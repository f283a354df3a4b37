// LogFeed: appends to a log of a job's source, and knows when what it has appended is durable: to an embedded log by
// the Ingest service, or to a Kafka topic.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace millrace {

// Used by one thread.
class LogFeed {
 public:
  virtual ~LogFeed() = default;

  // Returns once the records are durable, in a partition of its choice. After an error they may or may not be there,
  // and the call is to be repeated as it was. An embedded log then stores them once; what has a key (not 0) also if
  // another feed repeats it, as long as the log remembers that.
  virtual Status append(std::span<const std::string_view> records, uint64_t key) = 0;
};

struct LogFeedTarget {
  std::string uri;                            // log://NAME or kafka://HOST:PORT/TOPIC
  std::map<std::string, std::string> config;  // librdkafka settings
  std::string api;                            // HOST:PORT of the master's services
};

// Makes no connection yet. kInvalid: malformed.
Result<std::unique_ptr<LogFeed>> open_log_feed(const LogFeedTarget& target);

}  // namespace millrace
