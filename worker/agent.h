// Agent: the role of a millrace-worker process: registers its host with the master, starts and ends executor
// processes as the master asks, and tells when one ended. It knows nothing of records or batches, so a job that
// crashes its executor does not harm it.
//
// When the master is lost the executors go on; the agent registers with the next one and says what runs. When the
// master says that this agent was declared dead, its executors are ended and `exit` is called: the caller starts anew
// with another process id.
//
// Lives on the worker's control loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "common/base/ids.h"
#include "common/runtime/lifetime.h"
#include "common/runtime/messenger.h"
#include "common/seams/clock.h"
#include "common/seams/network.h"
#include "common/seams/process_launcher.h"
#include "common/seams/task_loop.h"

namespace millrace {

struct AgentOptions {
  ProcessId self;
  std::string version;
  std::string name;  // host:pid, for people
  std::string http;  // where the worker's status is, for people
  Endpoint master;
  int32_t lanes = 1;
  Duration heartbeat = std::chrono::milliseconds(250);
};

class Agent : public MessengerHandler {
 public:
  enum class Exit {
    kDrained,       // everything is handed over: the process may end
    kDeclaredDead,  // start anew
    kRefused,       // the master will not have this worker; the reason is for people
  };
  struct Deps {
    TaskLoop& loop;
    Network& network;
    ProcessLauncher& launcher;
    std::function<void(Exit, const std::string& reason)> exit;
  };

  Agent(AgentOptions options, Deps deps);

  void start();
  // Asks the master to move away what this worker holds; exit(kDrained) follows. Without a master it comes at once.
  void drain();

  [[nodiscard]] bool connected() const { return master_ != ProcessId(0) && !master_lost_; }
  [[nodiscard]] size_t executors() const { return executors_.size(); }
  // Since this began.
  [[nodiscard]] int64_t executors_started() const { return started_; }
  [[nodiscard]] int64_t executors_ended() const { return ended_; }

  // MessengerHandler
  void on_peer_up(const PeerInfo& peer) override;
  void on_peer_unreachable(const PeerInfo& peer, const std::string& reason) override;
  void on_refused(const Endpoint& endpoint, const std::string& reason) override;
  void on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer bulk) override;

 private:
  void register_here();
  void start_executor(const wire::Envelope& envelope);
  void executor_ended(ProcessId process, const std::string& reason);
  void heartbeat();
  void tell_waiting();
  void send(wire::Body body, JobId job = JobId(0));

  // Constant after construction.
  const AgentOptions options_;
  Deps deps_;

  // Owned by the loop.
  Messenger messenger_;
  ProcessId master_;                      // 0: none yet
  bool master_lost_ = false;              // its connection broke, and it has said nothing since
  std::map<ProcessId, JobId> executors_;  // that run
  int64_t started_ = 0;
  int64_t ended_ = 0;
  bool draining_ = false;
  int64_t beats_without_master_ = 0;
  Lifetime lifetime_;
};

}  // namespace millrace
