// LocalCluster: Master, Agent and Executor as objects of one process.
//
// All three share the control loop, so that none can be silent while another one listens, and nobody is ever declared
// dead. An executor that ends on its own ends the cluster: there is nobody who could take its share.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapters/local_network.h"
#include "adapters/memory_stores.h"
#include "adapters/system_clock.h"
#include "adapters/system_random.h"
#include "common/runtime/event_loop.h"
#include "master/control_service.h"
#include "master/master.h"
#include "worker/agent.h"
#include "worker/executor.h"

namespace millrace {

// Made and destroyed on no loop; used from any thread but its loops'.
class LocalCluster {
 public:
  struct Seams {
    // Called on the loop that is given, the lanes' ones too.
    std::function<Result<std::unique_ptr<Log>>(const wire::JobSpec&, TaskLoop&)> make_log;
    std::function<Result<std::unique_ptr<Sink>>(const wire::JobSpec&, TaskLoop&)> make_sink;     // of the control loop
    std::function<Result<std::unique_ptr<Output>>(const OutputTarget&, TaskLoop&)> make_output;  // of it, too
  };

  LocalCluster(int32_t lanes, Seams seams);
  ~LocalCluster();
  LocalCluster(const LocalCluster&) = delete;
  LocalCluster& operator=(const LocalCluster&) = delete;

  // Waits for the answer.
  Result<api::JobSummary> submit(const api::SubmitRequest& request);

  // Runs on the control loop and returns when it is done.
  void run(const std::function<void()>& action) {
    control_.run_and_wait([&] { action(); });
  }

  // These on the control loop only.
  [[nodiscard]] ControlService& service() { return *service_; }
  [[nodiscard]] JobController* find_job(const std::string& name) { return master_->find_job(name); }
  // What was counted has not all reached the job's outputs.
  [[nodiscard]] bool is_appending() const { return executor_ != nullptr && executor_->is_appending(); }
  // Why no work is done any more; empty: it is.
  [[nodiscard]] const std::string& failure() const { return failure_; }

 private:
  class Launcher;

  void open_master();
  void open_agent();
  void launch(const LaunchRequest& request, std::move_only_function<void(const std::string&)> ended);
  void end_executor(const std::string& reason);
  void close();

  // Constant after construction.
  const int32_t lanes_;
  const Seams seams_;
  SystemClock clock_;

  EventLoop control_{"control"};
  std::vector<std::unique_ptr<EventLoop>> lane_loops_;

  // Owned by the control loop.
  SystemRandom random_;
  std::string failure_;
  std::shared_ptr<ForgetfulCheckpointStore::Files> files_ = std::make_shared<ForgetfulCheckpointStore::Files>();
  std::shared_ptr<LocalSwitch> switch_ = make_local_switch();
  std::unique_ptr<MemoryMetadataStore> metadata_;
  std::unique_ptr<ForgetfulCheckpointStore> checkpoints_;
  std::unique_ptr<LocalNetwork> master_network_;
  std::unique_ptr<Master> master_;
  std::unique_ptr<ControlService> service_;
  std::unique_ptr<LocalNetwork> agent_network_;
  std::unique_ptr<Launcher> launcher_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<LocalNetwork> executor_network_;
  std::unique_ptr<Executor> executor_;
  std::move_only_function<void(const std::string&)> executor_ended_;
};

}  // namespace millrace
