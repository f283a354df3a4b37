// ProcessLauncher: how an agent starts and ends executor processes on its host.
//
// Real: fork and exec of this binary, with a parent-death signal (adapters/process_launcher.h).
// Fake: the simulator makes an Executor object.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace {

struct LaunchRequest {
  ProcessId process;  // the process id that the executor shall have
  ProcessId worker;   // its agent
  JobId job;
  std::string job_name;  // for people (it stands in the process list)
  int64_t memory_limit_bytes = 0;
  std::string checkpoints;  // URI of the checkpoint store
  std::string logs;         // folder of the embedded logs, or empty
};

// Lives on one loop.
class ProcessLauncher {
 public:
  virtual ~ProcessLauncher() = default;
  // `ended` is called on the loop once the process is gone, with the reason ("exit status 3", "signal 9").
  virtual Status launch(const LaunchRequest& request,
                        std::move_only_function<void(const std::string& reason)> ended) = 0;
  // Ends it at once; `ended` follows. Unknown processes are ignored.
  virtual void end(ProcessId process) = 0;
};

}  // namespace millrace
