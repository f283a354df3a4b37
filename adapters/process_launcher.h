// ForkLauncher: starts executors as child processes of this one: the same binary with --executor. A child dies with
// its parent (a parent-death signal, so kill -9 of the worker takes its executors along), inherits no descriptor but
// the standard ones; a thread waits for its end, and the loop reaps it.
//
// The parent-death signal is tied to the thread that forks, so launch() must be called on a thread that lives as long
// as the process: the worker's control loop. `ended` is called on that loop.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/seams/process_launcher.h"
#include "common/seams/task_loop.h"

namespace millrace {

class ForkLauncher : public ProcessLauncher {
 public:
  // `arguments` are given to every executor besides what the request says.
  ForkLauncher(TaskLoop& loop, std::vector<std::string> arguments);
  ~ForkLauncher() override;  // ends all that still run and waits for them

  Status launch(const LaunchRequest& request, std::move_only_function<void(const std::string& reason)> ended) override;
  void end(ProcessId process) override;

  struct Running {
    ProcessId process;
    std::string job_name;
    pid_t pid = 0;
  };
  [[nodiscard]] std::vector<Running> running() const;

 private:
  struct Child;

  // Constant after construction.
  TaskLoop& loop_;  // outlives this
  const std::vector<std::string> arguments_;

  // Owned by the loop.
  std::map<ProcessId, std::unique_ptr<Child>> children_;
  const std::shared_ptr<char> alive_ = std::make_shared<char>();  // tasks that come later than the end do nothing
};

}  // namespace millrace
