// open_sink: the sink of a job's URI: redis://... or none:.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/ids.h"
#include "common/seams/sink.h"
#include "common/seams/task_loop.h"

namespace millrace {

struct SinkTarget {
  std::string uri;
  std::map<std::string, std::string> config;  // of redis: username, password; never printed
};

// `partition_of` tells which state partition a key belongs to (thread-safe). Makes no connection yet: the first call
// does. `answer_limit` is how long a call may take when the sink is silent. kInvalid: malformed, no sink of that
// scheme, or a setting that it does not have.
Result<std::unique_ptr<Sink>> open_sink(TaskLoop& loop, const SinkTarget& target,
                                        std::function<StatePartition(std::string_view key)> partition_of,
                                        std::chrono::milliseconds answer_limit = std::chrono::milliseconds(5000));

}  // namespace millrace
