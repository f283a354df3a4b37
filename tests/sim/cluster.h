// SimCluster: a whole cluster of real Master, Agent and Executor objects on a World, with fakes for disks, log and
// sink. A scenario appends lines, lets fate strike, and asks at the end whether every value equals the fold of the log.
//
//   SimCluster cluster(seed, {.workers = 3});
//   cluster.start();
//   cluster.submit("count", "word_count");
//   cluster.append_lines(100);
//   cluster.crash_worker(1);
//   EXPECT_TRUE(cluster.finish()) << cluster.state();
//   EXPECT_EQ(cluster.oracle().breach(), "");
//
// All the while a client asks for values and ranks, and the Oracle compares what it and everybody else sees with the
// log. A Plant stands between the roles and the fakes, to put bugs there that the oracle must notice.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "master/control_service.h"
#include "master/master.h"
#include "tests/fakes/fake_checkpoint_store.h"
#include "tests/fakes/fake_log.h"
#include "tests/fakes/fake_metadata_store.h"
#include "tests/fakes/fake_output.h"
#include "tests/fakes/fake_sink.h"
#include "tests/sim/oracle.h"
#include "tests/sim/world.h"
#include "worker/agent.h"
#include "worker/executor.h"

namespace millrace {

// Wraps what the roles are given; as it is, it changes nothing.
class Plant {
 public:
  virtual ~Plant() = default;
  virtual std::shared_ptr<const Job> job(std::shared_ptr<const Job> real) { return real; }
  virtual std::unique_ptr<Sink> sink(std::unique_ptr<Sink> real) { return real; }
  virtual std::unique_ptr<Output> output(std::unique_ptr<Output> real) { return real; }
  // A message on its way, once; true: it was altered.
  virtual bool message(wire::Envelope&) { return false; }
  virtual void cluster(class SimCluster&) {}  // once, at the beginning
};

struct SimClusterOptions {
  int workers = 2;
  int lanes = 2;
  size_t topics = 1;       // 2 at most
  int log_partitions = 3;  // dealt to the topics in turn, also those that are added
  int state_partitions = 8;
  int64_t batch_interval_ms = 10;
  int64_t checkpoint_interval_ms = 50;
  int64_t lane_memory_bytes = 0;  // 0: what the master gives
  Duration log_latency = std::chrono::milliseconds(1);
  int64_t output_most_ms = 4;           // that half of a request to an output takes
  int64_t sink_most_ms = 4;             // that one request to the sink takes
  int32_t base_every = 10;              // increments of a checkpoint until bases are merged
  int64_t max_uncheckpointed = 20'000;  // batches
  bool fail_on_bad_record = false;
  bool libraries = false;  // the jobs' code is in libraries in the checkpoint store
  bool allow_libraries = true;
  double searches = 0.1;                         // that a client begins one where it asks; it pins a checkpoint
  Duration patience = std::chrono::minutes(10);  // of finish()
  SimFaults faults;
  std::shared_ptr<Plant> plant;
};

// What happened in a run, to see that the faults really strike.
struct SimCounts {
  uint64_t master_crashes = 0;
  uint64_t worker_crashes = 0;
  uint64_t executor_crashes = 0;
  uint64_t freezes = 0;
  uint64_t assignments = 0;
  uint64_t replays = 0;  // tasks
  uint64_t fenced = 0;   // publications that the sink refused
  uint64_t rounds = 0;
  uint64_t checkpoints = 0;
  uint64_t merges = 0;
  uint64_t restore_failures = 0;
  uint64_t answers = 0;  // to the client
  uint64_t changes = 0;  // batches of them that it was told
  uint64_t resets = 0;   // of its positions
  uint64_t times_gone_back = 0;
  uint64_t upgrades = 0;  // that were done
  uint64_t pages = 0;     // of searches, behind the first one
  uint64_t gone = 0;      // searches that had to begin again

  SimCounts& operator+=(const SimCounts& other);
};
std::ostream& operator<<(std::ostream& out, const SimCounts& counts);

class SimCluster {
 public:
  SimCluster(uint64_t seed, SimClusterOptions options);
  ~SimCluster();

  World& world() { return world_; }
  Master* master();  // or null
  FakeSinkServer& sink() { return *sink_server_; }
  FakeOutputPlace& output() { return *output_place_; }
  FakeMetadataDisk& metadata_disk() { return *metadata_disk_; }
  FakeCheckpointDisk& checkpoint_disk() { return *checkpoint_disk_; }
  FakeTopic& topic() { return *topic_; }

  // Everything that is down comes up.
  void start();
  void start_master();
  void crash_master();
  void start_worker(int index);
  void crash_worker(int index);        // with its executors
  void crash_executor(uint64_t draw);  // one of those that run
  void crash_executor_of(int index);   // of this worker
  void drain_worker(int index);        // it hands over, ends and is started anew
  // Stops the loops for a while, as SIGSTOP does.
  void freeze_master(Duration duration);
  void freeze_executor(uint64_t draw, Duration duration);
  // Executors of these workers, also those to come, cannot reach each other until mend_workers(), finish() included.
  void cut_workers(int from, int to, bool both_ways);
  void mend_workers();
  // A bug: an executor that starts anew under the name of its former life, and nobody is told.
  void restart_executor_unnoticed(uint64_t draw);
  [[nodiscard]] bool has_master() const { return master_ != nullptr; }
  [[nodiscard]] bool has_worker(int index) const { return workers_[static_cast<size_t>(index)] != nullptr; }
  [[nodiscard]] size_t executors() const { return executors_.size(); }

  // Runs until the job is accepted.
  void submit(const std::string& name, const std::string& type);
  // Asks the master once. Needs one.
  Result<api::JobSummary> submit_once(const std::string& name, const std::string& type);
  // Without waiting for the answer; nothing where no master is.
  void ask_to_stop(const std::string& name);
  void ask_to_resume(const std::string& name);
  // To one of the checkpoints that are kept. False: the job is not at rest, or has none.
  bool ask_to_go_back(const std::string& name, uint64_t draw);
  // To other settings, as the next version of kUpgradedJob or an index. False: the job is not at rest.
  bool ask_to_upgrade(const std::string& name);
  [[nodiscard]] api::UpgradeRequest upgrade_of(const std::string& name, int64_t version);
  Result<api::UpgradePlan> plan_upgrade(const api::UpgradeRequest& request);
  Result<api::JobSummary> upgrade(const api::UpgradeRequest& request);
  // The request may then drop what the plan says that it drops.
  static void agree_to(const api::UpgradePlan& plan, api::UpgradeRequest& request);
  void ask_to_kill(const std::string& name, bool purge);
  Result<api::Page> search(const api::SearchRequest& request);
  // Runs until the master has answered.
  Result<api::JobSummary> resume_from(const std::string& name, int64_t batch);
  // If there is no job of the name: another one, which takes over what the sink holds.
  void ask_to_submit_again(const std::string& name);
  // Runs until the job is forgotten and a new one of the name accepted. Needs a living master.
  void kill_and_submit(const std::string& name, bool purge);
  // Lines of a few words from a small vocabulary, to random partitions; now and then one that is no UTF-8.
  void append_lines(int lines);

  [[nodiscard]] bool all_caught_up();
  // Ends all faults (cuts between workers stay), starts what is down, resumes what is stopped, submits what was killed,
  // and runs until all jobs have published all there is and nothing is left of killed ones. False: that took more
  // virtual time than its patience, or something is not as it should be.
  [[nodiscard]] bool finish();
  // A job that says that it failed, with the reason, or empty.
  [[nodiscard]] std::string failure_of(const std::string& name);
  [[nodiscard]] const Oracle& oracle() const { return oracle_; }
  [[nodiscard]] SimCounts counts() const;
  // What is going on, for the message of a failure.
  [[nodiscard]] std::string state();

 private:
  struct MasterNode {
    SimProcess* process = nullptr;
    std::unique_ptr<FakeMetadataStore> metadata;
    std::unique_ptr<FakeCheckpointStore> checkpoints;
    std::unique_ptr<Master> master;
    std::unique_ptr<ControlService> service;
  };
  struct WorkerNode;
  struct ExecutorNode;
  class Launcher;

  void launch(WorkerNode& worker, const LaunchRequest& request,
              std::move_only_function<void(const std::string&)> ended);
  void end_executor(ProcessId process, const std::string& reason);
  void destroy_executor(std::unique_ptr<ExecutorNode> node);
  [[nodiscard]] std::unique_ptr<Log> make_log(TaskLoop& loop);
  [[nodiscard]] Result<std::shared_ptr<const Job>> make_job(const std::string& type, const JobContext& context);
  [[nodiscard]] std::unique_ptr<Sink> make_sink(TaskLoop& loop);
  [[nodiscard]] std::unique_ptr<Output> make_output(TaskLoop& loop, const OutputTarget& target);
  [[nodiscard]] api::SubmitRequest request_of(const std::string& name);
  // Runs until the master has answered, asking again while it says kUnavailable, as a person would.
  template <typename T>
  Result<T> ask(const std::function<void(ControlService&, ApiService::Done<T>)>& question);
  void start_client();
  void client_asks(const std::string& name);
  void client_turns_pages(const api::DocsRequest& request, const std::optional<api::Doc>& after);
  void client_searches(const api::SearchRequest& request, const std::optional<api::Page>& before);
  void client_follows(const std::string& name);
  [[nodiscard]] std::shared_ptr<void> open_question();
  void bring_back();
  [[nodiscard]] std::string leftovers();
  void on_frame(Frame& frame);
  void make_cuts();
  [[nodiscard]] bool is_caught_up(const std::string& name);
  [[nodiscard]] bool is_appending() const;

  const SimClusterOptions options_;
  World world_;
  std::unique_ptr<FakeTopic> topic_;
  std::shared_ptr<FakeMetadataDisk> metadata_disk_;
  std::shared_ptr<FakeCheckpointDisk> checkpoint_disk_;
  std::shared_ptr<FakeSinkServer> sink_server_;
  std::shared_ptr<FakeOutputPlace> output_place_ = std::make_shared<FakeOutputPlace>();
  std::unique_ptr<MasterNode> master_;
  std::vector<std::unique_ptr<WorkerNode>> workers_;
  std::map<ProcessId, std::unique_ptr<ExecutorNode>> executors_;
  std::set<std::pair<int, int>> cut_workers_;
  std::map<std::string, std::string> types_;  // by job name
  Oracle oracle_;
  SimCounts counts_;
  int open_questions_ = 0;  // of the client
  struct Following {
    api::AsOf position;
    bool asked = false;
  };
  std::map<std::string, std::shared_ptr<Following>> following_;  // by job name
  bool finishing_ = false;
};

}  // namespace millrace
