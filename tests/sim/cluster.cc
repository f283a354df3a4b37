#include "tests/sim/cluster.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <utility>

#include "common/base/check.h"
#include "common/wire/codec.h"
#include "jobs/registry.h"
#include "tests/sim/append_job.h"
#include "tests/sim/chain_job.h"
#include "tests/sim/index_job.h"
#include "tests/sim/level_job.h"
#include "tests/sim/time_jobs.h"
#include "tests/sim/upgraded_job.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

constexpr char kMasterName[] = "master";

StatePartition partition_of(const std::string& key, int partitions) {
  return state_partition_of(key, partitions);
}

Result<std::shared_ptr<const Job>> make_sim_job(const std::string& type, const JobContext& context) {
  if (type == kChainJob) return make_chain_job(context);
  if (is_append_job(type)) return make_append_job(type, context);
  if (is_index_job(type)) return make_index_job(type, context);
  if (type == kLevelJob) return make_level_job(context.state_partitions);
  if (is_time_job(type) || is_event_job(type)) return make_time_job(type, context);
  if (type == kUpgradedJob) return make_upgraded_job(context);
  return make_builtin_job(type, context);
}

}  // namespace

class SimCluster::Launcher : public ProcessLauncher {
 public:
  Launcher(SimCluster& cluster, WorkerNode& worker) : cluster_(cluster), worker_(worker) {}
  Status launch(const LaunchRequest& request, std::move_only_function<void(const std::string&)> ended) override {
    cluster_.launch(worker_, request, std::move(ended));
    return {};
  }
  void end(ProcessId process) override {
    // Not `this`, which is gone if the worker crashes meanwhile.
    cluster_.world_.after(milliseconds(1),
                          [&cluster = cluster_, process] { cluster.end_executor(process, "signal 9"); });
  }

 private:
  SimCluster& cluster_;
  WorkerNode& worker_;
};

struct SimCluster::WorkerNode {
  int index = 0;
  SimProcess* process = nullptr;
  SimLoop* loop = nullptr;
  std::unique_ptr<Launcher> launcher;
  std::unique_ptr<Agent> agent;
};

struct SimCluster::ExecutorNode {
  WorkerNode* worker = nullptr;
  SimProcess* process = nullptr;
  std::unique_ptr<FakeCheckpointStore> checkpoints;
  std::unique_ptr<Executor> executor;
  LaunchRequest request;
  std::move_only_function<void(const std::string&)> ended;
};

SimCluster::SimCluster(uint64_t seed, SimClusterOptions options)
    : options_(options),
      world_(seed, options.faults),
      topic_(std::make_unique<FakeTopic>(options.log_partitions, seed, "fake", options.topics)),
      metadata_disk_(std::make_shared<FakeMetadataDisk>()),
      checkpoint_disk_(std::make_shared<FakeCheckpointDisk>()),
      sink_server_(std::make_shared<FakeSinkServer>(
          [partitions = options.state_partitions](const std::string& key) { return partition_of(key, partitions); })),
      oracle_({*topic_, *sink_server_, *output_place_, *checkpoint_disk_, make_sim_job}) {
  SimRandom& disk = world_.random("disk");
  const auto timing = [&disk](Duration most) {
    return FakeTiming{[&disk, most] { return disk.between(std::chrono::microseconds(50), most); },
                      [&disk] { return disk.chance(0.5); }};
  };
  metadata_disk_->timing = timing(milliseconds(3));
  checkpoint_disk_->timing = timing(milliseconds(10));
  sink_server_->timing = timing(milliseconds(options.sink_most_ms));
  output_place_->timing = timing(milliseconds(options.output_most_ms));
  output_place_->reply_is_lost = [this, &disk] { return world_.current_faults().lose > 0 && disk.chance(0.02); };
  sink_server_->reply_is_lost = [this, &disk] { return world_.current_faults().lose > 0 && disk.chance(0.02); };
  metadata_disk_->written = [this](const std::string& key, const std::string& value) {
    if (key.starts_with("assignment/")) ++counts_.assignments;
    oracle_.on_durable(key, value);
  };
  sink_server_->on_event = [this](const FakeSinkServer::Event& event) {
    if (event.what == FakeSinkServer::What::kRound) ++counts_.rounds;
    oracle_.on_sink_event(event);
  };
  world_.set_frame_tap([this](Frame& frame) { on_frame(frame); });
  workers_.resize(static_cast<size_t>(options.workers));
  if (options_.plant != nullptr) options_.plant->cluster(*this);
  start_client();
}

SimCluster::~SimCluster() {
  // Objects go before the World, executors before what they call; what they leave behind is nobody's concern.
  metadata_disk_->written = nullptr;
  sink_server_->on_event = nullptr;
  for (auto& [id, node] : executors_) node->executor.reset();
  executors_.clear();
  for (auto& worker : workers_) worker.reset();
  master_.reset();
}

Master* SimCluster::master() {
  return master_ == nullptr ? nullptr : master_->master.get();
}

// Counts what is said, gives executors the memory of this scenario, and lets a plant alter it.
void SimCluster::on_frame(Frame& frame) {
  Result<wire::Envelope> envelope = decode(frame.control);
  CHECK(envelope.has_value());
  wire::Body& body = envelope->body;
  bool altered = false;
  if (body.__isset.replay) counts_.replays += body.replay.tasks.size();
  if (body.__isset.merge_state) ++counts_.merges;
  if (body.__isset.restore_failed) ++counts_.restore_failures;
  if (body.__isset.executor_accepted && options_.lane_memory_bytes > 0) {
    body.executor_accepted.spec.lane_memory_bytes = options_.lane_memory_bytes;
    altered = true;
  }
  if (options_.plant != nullptr && options_.plant->message(*envelope)) altered = true;
  if (altered) frame.control = encode(*envelope);
}

SimCounts SimCluster::counts() const {
  SimCounts counts = counts_;
  counts.fenced = sink_server_->refused_by_fence();
  counts.checkpoints = oracle_.checkpoints_read();
  counts.times_gone_back = oracle_.times_gone_back();
  return counts;
}

Result<std::shared_ptr<const Job>> SimCluster::make_job(const std::string& type, const JobContext& context) {
  auto job = make_sim_job(type, context);
  if (job.has_value() && options_.plant != nullptr) return options_.plant->job(*job);
  return job;
}

std::unique_ptr<Sink> SimCluster::make_sink(TaskLoop& loop) {
  std::unique_ptr<Sink> sink = std::make_unique<FakeSink>(loop, sink_server_);
  return options_.plant == nullptr ? std::move(sink) : options_.plant->sink(std::move(sink));
}

std::unique_ptr<Output> SimCluster::make_output(TaskLoop& loop, const OutputTarget& target) {
  std::unique_ptr<Output> output = std::make_unique<FakeOutput>(loop, output_place_, target);
  return options_.plant == nullptr ? std::move(output) : options_.plant->output(std::move(output));
}

std::unique_ptr<Log> SimCluster::make_log(TaskLoop& loop) {
  FakeLogOptions log;
  log.most_records_a_chunk = 7;
  log.latency = options_.log_latency;
  return std::make_unique<FakeLog>(*topic_, loop, log);
}

void SimCluster::start() {
  if (master_ == nullptr) start_master();
  for (int i = 0; i < options_.workers; ++i) {
    if (workers_[static_cast<size_t>(i)] == nullptr) start_worker(i);
  }
}

void SimCluster::start_master() {
  CHECK(master_ == nullptr);
  auto node = std::make_unique<MasterNode>();
  node->process = &world_.add_process(kMasterName);
  SimLoop& loop = node->process->make_loop("control");
  node->metadata = FakeMetadataStore::open(loop, metadata_disk_).value();
  node->checkpoints = std::make_unique<FakeCheckpointStore>(loop, checkpoint_disk_);
  MasterOptions options;
  options.self = ProcessId(world_.random("ids").next_id());
  options.version = "sim";
  options.checkpoints = "sim";
  options.output_directories = {"/sim"};
  options.allow_job_libraries = options_.allow_libraries;
  options.job.checkpoints.base_every = options_.base_every;
  options.job.max_uncheckpointed = options_.max_uncheckpointed;
  Master::Deps deps{
      loop,
      world_.clock(),
      world_.random("ids"),
      node->process->network(),
      *node->metadata,
      *node->checkpoints,
      [this](const std::string& type, const JobContext& context) { return make_job(type, context); },
      {},
      [this, &loop](const wire::JobSpec&) { return Result<std::unique_ptr<Log>>(make_log(loop)); },
      [this, &loop](const wire::JobSpec&) { return Result<std::unique_ptr<Sink>>(make_sink(loop)); },
      [this, &loop](const OutputTarget& target) { return Result<std::unique_ptr<Output>>(make_output(loop, target)); }};
  node->master = std::make_unique<Master>(options, std::move(deps));
  node->service = std::make_unique<ControlService>(*node->master);
  Master* master = node->master.get();
  master_ = std::move(node);
  metadata_disk_->failure.reset();  // A master does not start on a disk that is full.
  loop.post([master] { master->start([](Status status) { CHECK(status.has_value()) << status.error(); }); });
}

void SimCluster::crash_master() {
  if (master_ == nullptr) return;
  ++counts_.master_crashes;
  world_.trace("crash master");
  world_.crash(*master_->process);
  master_->service.reset();
  master_->master.reset();
  master_.reset();
}

void SimCluster::start_worker(int index) {
  auto& slot = workers_[static_cast<size_t>(index)];
  CHECK(slot == nullptr);
  slot = std::make_unique<WorkerNode>();
  WorkerNode& node = *slot;
  node.index = index;
  node.process = &world_.add_process("worker-" + std::to_string(index));
  node.loop = &node.process->make_loop("control");
  node.launcher = std::make_unique<Launcher>(*this, node);
  AgentOptions options;
  options.self = ProcessId(world_.random("ids").next_id());
  options.version = "sim";
  options.name = node.process->name();
  options.master = Endpoint{std::string(kMasterName) + ":1"};
  options.lanes = options_.lanes;
  // Declared dead, refused or drained: the process ends and a new one takes its place.
  auto exit = [this, index, process = node.process](Agent::Exit, const std::string&) {
    world_.after(milliseconds(5), [this, index, process] {
      const auto& present = workers_[static_cast<size_t>(index)];
      if (present == nullptr || present->process != process) return;
      crash_worker(index);
      start_worker(index);
    });
  };
  node.agent = std::make_unique<Agent>(options, Agent::Deps{*node.loop, node.process->network(), *node.launcher, exit});
  node.loop->post([agent = node.agent.get()] { agent->start(); });
}

void SimCluster::crash_worker(int index) {
  auto& slot = workers_[static_cast<size_t>(index)];
  if (slot == nullptr) return;
  ++counts_.worker_crashes;
  world_.trace("crash worker", static_cast<uint64_t>(index));
  std::vector<ProcessId> own;
  for (const auto& [id, executor] : executors_) {
    if (executor->worker == slot.get()) own.push_back(id);
  }
  world_.crash(*slot->process);
  slot->agent.reset();
  for (ProcessId id : own) {
    auto node = executors_.extract(id);
    world_.crash(*node.mapped()->process);
    destroy_executor(std::move(node.mapped()));
  }
  slot.reset();
}

void SimCluster::crash_executor(uint64_t draw) {
  if (executors_.empty()) return;
  auto chosen = std::next(executors_.begin(), static_cast<std::ptrdiff_t>(draw % executors_.size()));
  ++counts_.executor_crashes;
  world_.trace("crash executor", chosen->first.value());
  end_executor(chosen->first, "signal 9");
}

void SimCluster::crash_executor_of(int index) {
  const auto chosen = std::ranges::find_if(executors_, [&](const auto& executor) {
    return executor.second->worker == workers_[static_cast<size_t>(index)].get();
  });
  CHECK(chosen != executors_.end());
  ++counts_.executor_crashes;
  world_.trace("crash executor", chosen->first.value());
  end_executor(chosen->first, "signal 9");
}

void SimCluster::drain_worker(int index) {
  auto& slot = workers_[static_cast<size_t>(index)];
  if (slot != nullptr) slot->loop->post([agent = slot->agent.get()] { agent->drain(); });
}

void SimCluster::freeze_master(Duration duration) {
  if (master_ == nullptr) return;
  ++counts_.freezes;
  world_.freeze(*master_->process, duration);
}

void SimCluster::freeze_executor(uint64_t draw, Duration duration) {
  if (executors_.empty()) return;
  ++counts_.freezes;
  const auto chosen = std::next(executors_.begin(), static_cast<std::ptrdiff_t>(draw % executors_.size()));
  world_.freeze(*chosen->second->process, duration);
}

void SimCluster::cut_workers(int from, int to, bool both_ways) {
  cut_workers_.emplace(from, to);
  if (both_ways) cut_workers_.emplace(to, from);
  make_cuts();
}

void SimCluster::mend_workers() {
  cut_workers_.clear();
  world_.heal();
}

void SimCluster::make_cuts() {
  for (const auto& [one_id, one] : executors_) {
    for (const auto& [other_id, other] : executors_) {
      if (!cut_workers_.contains({one->worker->index, other->worker->index})) continue;
      if (!world_.is_cut(one->process->name(), other->process->name())) {
        world_.cut(one->process->name(), other->process->name());
      }
    }
  }
}

void SimCluster::restart_executor_unnoticed(uint64_t draw) {
  if (executors_.empty()) return;
  const auto chosen = std::next(executors_.begin(), static_cast<std::ptrdiff_t>(draw % executors_.size()));
  auto node = executors_.extract(chosen);
  world_.crash(*node.mapped()->process);
  WorkerNode& worker = *node.mapped()->worker;
  const LaunchRequest request = node.mapped()->request;
  auto ended = std::move(node.mapped()->ended);
  destroy_executor(std::move(node.mapped()));
  launch(worker, request, std::move(ended));
}

void SimCluster::launch(WorkerNode& worker, const LaunchRequest& request,
                        std::move_only_function<void(const std::string&)> ended) {
  auto node = std::make_unique<ExecutorNode>();
  node->worker = &worker;
  node->request = request;
  node->ended = std::move(ended);
  node->process = &world_.add_process("executor-" + to_string(request.process));
  SimProcess& process = *node->process;
  SimLoop& control = process.make_loop("control");
  std::vector<SimLoop*> lanes;
  for (int i = 0; i < options_.lanes; ++i) lanes.push_back(&process.make_loop("lane-" + std::to_string(i)));
  node->checkpoints = std::make_unique<FakeCheckpointStore>(control, checkpoint_disk_);

  ExecutorOptions options;
  options.process = request.process;
  options.worker = request.worker;
  options.job = request.job;
  options.master = Endpoint{std::string(kMasterName) + ":1"};
  options.lanes = static_cast<size_t>(options_.lanes);
  options.version = "sim";
  Executor::Deps deps{
      control, world_.clock(), process.network(), *node->checkpoints,
      [this](const std::string& type, const JobContext& context) { return make_job(type, context); },
      // A library is the name of the type that it holds, with whatever makes another file of it.
      [this](const std::string& bytes, const std::string&) {
        return Result<JobFactory>([this, bytes](const std::string& type, const JobContext& context) {
          if (type != bytes.substr(0, bytes.find('#')))
            return Result<std::shared_ptr<const Job>>(fail(ErrorCode::kNotFound, "no type " + type));
          return make_job(type, context);
        });
      },
      [this, &control](const wire::JobSpec&) { return Result<std::unique_ptr<Sink>>(make_sink(control)); },
      [this, &control](const OutputTarget& target) {
        return Result<std::unique_ptr<Output>>(make_output(control, target));
      },
      [this, lanes](size_t index) {
        LaneSeams seams;
        seams.loop = lanes.at(index);
        seams.freeze_keys_per_step = 3;
        seams.make_log = [this](const wire::JobSpec&, TaskLoop& loop) {
          return Result<std::unique_ptr<Log>>(make_log(loop));
        };
        return seams;
      },
      nullptr,  // its jobs have no receivers
      [this, id = request.process](int, const std::string& reason) {
        world_.after(milliseconds(1), [this, id, reason] { end_executor(id, reason); });
      }};
  node->executor = std::make_unique<Executor>(options, std::move(deps));
  control.post([executor = node->executor.get()] { executor->start(); });
  executors_[request.process] = std::move(node);
  make_cuts();
}

void SimCluster::end_executor(ProcessId process, const std::string& reason) {
  auto found = executors_.extract(process);
  if (found.empty()) return;
  std::unique_ptr<ExecutorNode> node = std::move(found.mapped());
  world_.crash(*node->process);
  node->worker->loop->post([ended = std::move(node->ended), reason]() mutable { ended(reason); });
  destroy_executor(std::move(node));
}

bool SimCluster::is_appending() const {
  return std::ranges::any_of(executors_, [](const auto& entry) { return entry.second->executor->is_appending(); });
}

void SimCluster::destroy_executor(std::unique_ptr<ExecutorNode> node) {
  node->executor.reset();
  node.reset();
}

}  // namespace millrace
