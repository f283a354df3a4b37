#include "local/local_cluster.h"

#include <future>
#include <utility>

#include "jobs/load_library.h"
#include "jobs/registry.h"

namespace millrace {
namespace {

constexpr char kMaster[] = "master";
constexpr char kAgent[] = "agent";
constexpr char kExecutor[] = "executor";
constexpr char kVersion[] = "local";
// Silence is judged after this: never, as all share a loop.
constexpr Duration kNever = std::chrono::hours(24 * 365);

}  // namespace

class LocalCluster::Launcher final : public ProcessLauncher {
 public:
  explicit Launcher(LocalCluster& cluster) : cluster_(cluster) {}
  Status launch(const LaunchRequest& request, std::move_only_function<void(const std::string&)> ended) override {
    cluster_.launch(request, std::move(ended));
    return {};
  }
  void end(ProcessId) override {
    cluster_.control_.post([&cluster = cluster_] { cluster.end_executor("it was ended"); });
  }

 private:
  LocalCluster& cluster_;  // owns this
};

LocalCluster::LocalCluster(int32_t lanes, Seams seams) : lanes_(lanes), seams_(std::move(seams)) {
  for (int32_t lane = 0; lane < lanes_; ++lane) {
    lane_loops_.push_back(std::make_unique<EventLoop>("lane-" + std::to_string(lane)));
    lane_loops_.back()->start();
  }
  control_.start();
  std::promise<void> started;
  control_.post([&] {
    open_master();
    open_agent();
    master_->start([&](const Status& status) {
      if (!status) failure_ = status.error().message;
      started.set_value();
    });
  });
  started.get_future().wait();
}

LocalCluster::~LocalCluster() {
  run([this] { close(); });
  for (const auto& lane : lane_loops_) {
    lane->stop();
    lane->join();
  }
  control_.stop();
  control_.join();
}

void LocalCluster::open_master() {
  metadata_ = std::make_unique<MemoryMetadataStore>(control_);
  checkpoints_ = std::make_unique<ForgetfulCheckpointStore>(control_, files_);
  master_network_ = std::make_unique<LocalNetwork>(switch_, kMaster, control_);
  MasterOptions options;
  options.self = ProcessId(random_.next_id());
  options.version = kVersion;
  options.checkpoints = "memory";
  options.allow_job_libraries = true;  // it is who runs this that chose it
  options.output_directories = {"/"};
  options.outputs_need_places = false;  // the others are shown
  options.lease = kNever;
  options.declare_dead = kNever;
  options.job.settle = Duration::zero();  // one executor is all there will be
  Master::Deps deps{control_,
                    clock_,
                    random_,
                    *master_network_,
                    *metadata_,
                    *checkpoints_,
                    make_builtin_job,
                    builtin_job_types(),
                    [this](const wire::JobSpec& spec) { return seams_.make_log(spec, control_); },
                    [this](const wire::JobSpec& spec) { return seams_.make_sink(spec, control_); },
                    [this](const OutputTarget& target) { return seams_.make_output(target, control_); }};
  master_ = std::make_unique<Master>(options, std::move(deps));
  service_ = std::make_unique<ControlService>(*master_);
}

void LocalCluster::open_agent() {
  agent_network_ = std::make_unique<LocalNetwork>(switch_, kAgent, control_);
  launcher_ = std::make_unique<Launcher>(*this);
  AgentOptions options;
  options.self = ProcessId(random_.next_id());
  options.version = kVersion;
  options.name = "this process";
  options.master = Endpoint{kMaster};
  options.lanes = lanes_;
  agent_ = std::make_unique<Agent>(options,
                                   Agent::Deps{control_, *agent_network_, *launcher_,
                                               [this](Agent::Exit, const std::string& reason) { failure_ = reason; }});
  agent_->start();
}

void LocalCluster::launch(const LaunchRequest& request, std::move_only_function<void(const std::string&)> ended) {
  executor_ended_ = std::move(ended);
  executor_network_ = std::make_unique<LocalNetwork>(switch_, kExecutor, control_);
  ExecutorOptions options;
  options.process = request.process;
  options.worker = request.worker;
  options.job = request.job;
  options.master = Endpoint{kMaster};
  options.lanes = lane_loops_.size();
  options.version = kVersion;
  options.lane_timeout = std::chrono::seconds(60);
  Executor::Deps deps{
      control_,
      clock_,
      *executor_network_,
      *checkpoints_,
      make_builtin_job,
      load_job_factory,
      [this](const wire::JobSpec& spec) { return seams_.make_sink(spec, control_); },
      [this](const OutputTarget& target) { return seams_.make_output(target, control_); },
      [this](size_t index) {
        LaneSeams seams;
        seams.loop = lane_loops_.at(index).get();
        seams.make_log = seams_.make_log;
        return seams;
      },
      nullptr,  // no job here has a receiver of its own
      [this](int, const std::string& reason) { control_.post([this, reason] { end_executor(reason); }); }};
  executor_ = std::make_unique<Executor>(options, std::move(deps));
  executor_->start();
}

void LocalCluster::end_executor(const std::string& reason) {
  if (executor_ == nullptr) return;
  if (failure_.empty()) failure_ = reason;
  executor_.reset();
  executor_network_.reset();
  if (executor_ended_) std::exchange(executor_ended_, nullptr)(reason);
}

Result<api::JobSummary> LocalCluster::submit(const api::SubmitRequest& request) {
  std::promise<Result<api::JobSummary>> answer;
  control_.post(
      [&] { service_->submit(request, [&](Result<api::JobSummary> job) { answer.set_value(std::move(job)); }); });
  return answer.get_future().get();
}

// Those that use others first.
void LocalCluster::close() {
  executor_.reset();
  executor_network_.reset();
  agent_.reset();
  launcher_.reset();
  agent_network_.reset();
  service_.reset();
  master_.reset();
  master_network_.reset();
  checkpoints_.reset();
  metadata_.reset();
}

}  // namespace millrace
