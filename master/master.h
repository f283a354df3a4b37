// Master: the head of a cluster: knows the workers, starts an executor per job on each, runs a JobController per job,
// and answers the public services.
//
//   agents ----------> fleet: who is there, what runs where, who is silent
//   executors -------> handshake (register, accepted, ready), then to their job's controller
//   people (API) ----> ControlService (control_service.h) on the jobs
//
// Lives on the control loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/runtime/lifetime.h"
#include "common/runtime/messenger.h"
#include "common/seams/checkpoint_store.h"
#include "common/seams/clock.h"
#include "common/seams/log.h"
#include "common/seams/metadata_store.h"
#include "common/seams/output.h"
#include "common/seams/random.h"
#include "common/seams/sink.h"
#include "common/seams/task_loop.h"
#include "master/job_controller.h"
#include "master/job_store.h"
#include "stream/job.h"

namespace millrace {

// What a job's code is given of how it was submitted.
JobContext context_of(const wire::JobSpec& spec);

struct MasterOptions {
  ProcessId self;
  std::string version;
  std::string checkpoints;                        // URI, as executors are told
  std::string logs;                               // folder of the embedded logs; empty: log:// is refused
  std::string api;                                // HOST:PORT of the services, as executors are told
  std::vector<std::string> receiver_directories;  // below which receivers take files, and move them
  std::vector<std::string> output_directories;    // below which jobs may append to files
  bool outputs_need_places = true;                // otherwise make_output knows what to do with those that have none
  bool allow_job_libraries = false;               // whoever may submit runs code as the workers' user
  Duration heartbeat = std::chrono::milliseconds(250);
  Duration lease = std::chrono::milliseconds(2500);         // silence after which an executor publishes nothing
  Duration declare_dead = std::chrono::milliseconds(4000);  // silence after which a process is dead
  Duration start_limit = std::chrono::seconds(20);          // for an executor to become ready
  Duration restart_pause = std::chrono::milliseconds(100);  // doubles with each failure, up to restart_pause_most
  Duration restart_pause_most = std::chrono::seconds(10);
  Duration refused_pause_most = std::chrono::seconds(60);  // for executors that say they cannot work there
  Duration clear_pause = std::chrono::seconds(10);         // for writers of a killed job to end
  Duration cut_pause = std::chrono::seconds(5);  // without an executor on a worker whose last one was cut off from its
  Duration cut_pause_most = std::chrono::minutes(2);  // peers; doubles each time, up to this
  JobOptions job;
};

class Master : public MessengerHandler, public JobHost {
 public:
  struct Deps {
    TaskLoop& loop;
    Clock& clock;
    Random& random;
    Network& network;
    MetadataStore& metadata;
    CheckpointStore& checkpoints;
    JobFactory make_job;
    std::vector<JobType> job_types;  // what make_job knows
    std::function<Result<std::unique_ptr<Log>>(const wire::JobSpec&)> make_log;
    std::function<Result<std::unique_ptr<Sink>>(const wire::JobSpec&)> make_sink;
    std::function<Result<std::unique_ptr<Output>>(const OutputTarget&)> make_output;  // for claims only
  };

  struct Worker {
    PeerInfo peer;
    std::string name;
    std::string http;
    int32_t lanes = 1;
    bool draining = false;
    MonotonicTime heard;
  };
  struct ExecutorEntry {
    enum class State { kStarting, kRegistered, kReady };
    JobId job;
    ProcessId worker;
    State state = State::kStarting;
    MonotonicTime since;
    MonotonicTime heard;
    wire::RegisterExecutor registration;
    bool was_assigned = false;  // when it registered
    Endpoint endpoint;
    std::map<ProcessId, MonotonicTime> unreachable;  // peers, by its own word, and since when it says so
  };

  Master(MasterOptions options, Deps deps);
  ~Master() override;
  Master(const Master&) = delete;
  Master& operator=(const Master&) = delete;

  // Reads what a former master left, makes a new epoch durable and takes part. `ready` is told when it does, or why
  // it cannot.
  void start(std::move_only_function<void(Status)> ready);

  // What a job's code is known by. kInvalid: it is not known here, or not allowed.
  [[nodiscard]] Result<JobPlan> plan_of_job(const wire::JobSpec& spec) const;
  // Makes a controller for a record that is durable, and starts it. An error: the job cannot be run; it is listed as
  // failed.
  Status adopt_job(wire::JobRecord record, bool executors_may_return);
  // Its executors are told to end, and whoever waits for an answer, that the job `was_killed` or changed otherwise.
  void drop_job(const std::string& name, bool was_killed);
  // Removes what disks still hold of a job that is durably killed, now and until nothing more turns up.
  void clear_away(JobId job, const std::string& name, bool again = false);
  [[nodiscard]] JobController* find_job(const std::string& name);
  [[nodiscard]] std::vector<JobController*> all_jobs();
  [[nodiscard]] const std::map<ProcessId, Worker>& workers() const { return workers_; }
  [[nodiscard]] const std::map<ProcessId, ExecutorEntry>& executors() const { return executors_; }
  // Starts what is missing.
  void ensure_executors();

  [[nodiscard]] JobStore& store() { return store_; }
  [[nodiscard]] Deps& deps() { return deps_; }
  [[nodiscard]] const MasterOptions& options() const { return options_; }
  [[nodiscard]] bool started() const { return started_; }
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  [[nodiscard]] size_t unacknowledged_bytes() const { return messenger_.unacknowledged_bytes(); }

  // MessengerHandler
  void on_peer_up(const PeerInfo& peer) override;
  void on_peer_unreachable(const PeerInfo& peer, const std::string& reason) override;
  void on_refused(const Endpoint& endpoint, const std::string& reason) override;
  void on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer bulk) override;

  // JobHost
  void send(ProcessId to, wire::Envelope envelope) override;
  bool expects_executors(JobId job) const override;
  std::string start_trouble(JobId job) const override;
  // The same by worker: why it has no executor for one of the jobs.
  [[nodiscard]] std::string worker_trouble(ProcessId worker) const;
  void release_executor(JobId job, ProcessId process, const std::string& reason) override;
  void release_all_executors(JobId job, const std::string& reason) override;

 private:
  static constexpr size_t kMaxEarlyMessages = 10'000;

  struct Backoff {
    int failures = 0;
    int refusals = 0;  // one after the other, of executors that cannot work on that worker
    int cuts = 0;      // that one executor after the other was given up for
    MonotonicTime not_before;
  };

  // What a controller of such a job needs beyond what all need.
  Status make_parts(const wire::JobSpec& spec, JobController::Deps& deps);
  void write_probe(std::move_only_function<void(Status)> ready);
  void heartbeat();
  void register_worker(const PeerInfo& from, const wire::RegisterWorker& request);
  void drain_worker(ProcessId process);
  void lose_worker(ProcessId process, const std::string& reason);
  void register_executor(const PeerInfo& from, const wire::Envelope& envelope);
  void executor_ready(const PeerInfo& from, const wire::ExecutorReady& ready);
  // Who says that an executor is gone: its agent has seen how it ended; its connection, as it ended by itself.
  enum class Witness { kItsAgent, kItsConnection, kOthers };
  void lose_executor(ProcessId process, const std::string& reason, Witness witness = Witness::kOthers);
  void executor_ended(ProcessId agent, const wire::ExecutorEnded& ended);
  void start_executor(const Worker& worker, const JobController& job);
  void stop_executor(ProcessId process, const std::string& reason);
  void note_unreachable(ExecutorEntry& executor, const wire::Heartbeat& heartbeat);
  void give_up_unreachable();
  void give_up_executor(ProcessId process);
  void finish_drain(ProcessId worker);
  void send_body(ProcessId to, wire::Body body, JobId job = JobId(0));
  [[nodiscard]] JobController* find_job(JobId job);

  // Constant after construction.
  const MasterOptions options_;
  Deps deps_;

  // Owned by the loop.
  Messenger messenger_;
  JobStore store_;
  Epoch epoch_;
  bool started_ = false;
  std::vector<std::pair<PeerInfo, wire::Envelope>> early_;  // what came before that
  std::string probe_name_;
  std::string probe_content_;
  std::map<ProcessId, Worker> workers_;
  std::map<ProcessId, ExecutorEntry> executors_;
  std::map<std::string, std::unique_ptr<JobController>> jobs_;
  std::map<std::pair<ProcessId, JobId>, Backoff> backoffs_;            // (worker, job)
  std::map<std::pair<ProcessId, JobId>, std::string> start_troubles_;  // (worker, job): why no executor gets ready
  MonotonicTime last_heartbeat_;
  Lifetime lifetime_;
};

}  // namespace millrace
