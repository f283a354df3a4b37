// open_log: the log of a source's URI: kafka://HOST:PORT[,HOST:PORT]/TOPIC[,TOPIC] or log://NAME[,NAME].
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/seams/log.h"
#include "common/seams/task_loop.h"

namespace millrace {

struct LogSource {
  std::string uri;
  std::map<std::string, std::string> config;  // librdkafka settings
  std::string embedded_root;                  // folder of the embedded logs; empty: there are none
  size_t partitions = 0;                      // of all topics, as far as it is known
  std::string topic_id;                       // LogDescription's, of the one that is meant; empty: not known
};

// Makes no connection yet. kInvalid: malformed, no source of that scheme, or an unknown setting.
Result<std::unique_ptr<Log>> open_log(TaskLoop& loop, const LogSource& source);

}  // namespace millrace
