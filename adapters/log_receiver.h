// start_log_receiver: a receiver at work for a job on a cluster: a Receiver of any kind that feeds a durable log. What
// the log does not take is offered to it again until it does; meanwhile the receiver waits.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/seams/receiver.h"
#include "common/seams/task_loop.h"

namespace millrace {

struct LogReceiverOptions {
  std::string receiver;  // URI
  size_t max_record_bytes = 0;
  std::string log;                                // URI
  std::map<std::string, std::string> log_config;  // librdkafka settings
  std::string api;                                // HOST:PORT of the master's services
};

// `problem` is called on the loop, which outlives the answer, when another thing is in the way; "": nothing is.
// Destroyed on the loop; what a call to a log's owner still needs then is left to a thread of its own.
std::unique_ptr<RunningReceiver> start_log_receiver(const LogReceiverOptions& options, TaskLoop& loop,
                                                    std::function<void(const std::string&)> problem);

}  // namespace millrace
