// ExecutorTest: executors with two lanes each on a quiet simulated network, an in-memory log, checkpoint store and
// sink, and a scripted master that the test makes speak.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "jobs/registry.h"
#include "tests/fakes/fake_checkpoint_store.h"
#include "tests/fakes/fake_log.h"
#include "tests/fakes/fake_sink.h"
#include "tests/sim/scripted_master.h"
#include "tests/sim/world.h"
#include "worker/executor.h"

namespace millrace {

inline constexpr int32_t kStatePartitions = 8;
inline constexpr int32_t kLogPartitions = 2;
inline const JobId kJob(77);

class ExecutorTest : public testing::Test {
 protected:
  struct Node {
    SimProcess* process = nullptr;
    std::unique_ptr<FakeCheckpointStore> checkpoints;
    std::vector<std::string> receivers;                        // those that run, as "URI by API"
    std::function<void(const std::string&)> receiver_problem;  // of the newest one
    std::unique_ptr<Executor> executor;
    std::string exit_reason;
  };
  struct FakeReceiver : RunningReceiver {
    FakeReceiver(Node& its_node, const std::string& its_name) : node(its_node), name(its_name) {
      node.receivers.push_back(name);
    }
    FakeReceiver(const FakeReceiver&) = delete;
    FakeReceiver& operator=(const FakeReceiver&) = delete;
    ~FakeReceiver() override { std::erase(node.receivers, name); }
    Node& node;
    const std::string name;
  };

  ExecutorTest() {
    disk_->files["probe/1"] = "seen";
    new_master(1);
  }
  ~ExecutorTest() override {
    for (auto& [process, node] : nodes_) world_.crash(*node.process);
    nodes_.clear();
  }

  void new_master(int64_t epoch) {
    if (master_ != nullptr) {
      world_.crash(master_->process);
      master_.reset();
    }
    master_ = std::make_unique<ScriptedMaster>(world_, kJob, ProcessId(1000 + static_cast<uint64_t>(epoch)), epoch);
  }

  ProcessId add_executor(uint64_t id) {
    const ProcessId self(id);
    Node& node = nodes_[self];
    node.process = &world_.add_process("executor-" + std::to_string(id));
    SimLoop& loop = node.process->make_loop("control");
    node.checkpoints = std::make_unique<FakeCheckpointStore>(loop, disk_);
    ExecutorOptions options;
    options.process = self;
    options.worker = ProcessId(500);
    options.job = kJob;
    options.master = master_->process.endpoint();
    options.lanes = 2;
    Executor::Deps deps{.loop = loop,
                        .clock = world_.clock(),
                        .network = node.process->network(),
                        .checkpoints = *node.checkpoints,
                        .make_job = make_job_,
                        .make_sink = [this, &loop](const wire::JobSpec&) -> Result<std::unique_ptr<Sink>> {
                          return std::make_unique<FakeSink>(loop, sink_);
                        },
                        .make_output = nullptr,  // its jobs append nothing
                        .lane_seams =
                            [this, &node](size_t index) {
                              return LaneSeams{
                                  &node.process->make_loop("lane-" + std::to_string(index)),
                                  [this](const wire::JobSpec&, TaskLoop& lane) -> Result<std::unique_ptr<Log>> {
                                    return std::make_unique<FakeLog>(topic_, lane);
                                  }};
                            },
                        .start_receiver =
                            [&node](const wire::JobSpec& spec, const std::string& api, auto problem) {
                              node.receiver_problem = std::move(problem);
                              return std::make_unique<FakeReceiver>(node, spec.receiver + " by " + api);
                            },
                        .exit = [&node](int, const std::string& reason) { node.exit_reason = reason; }};
    node.executor = std::make_unique<Executor>(options, std::move(deps));
    node.executor->start();
    return self;
  }

  // Executors 1 and 2, at work.
  std::pair<ProcessId, ProcessId> add_two() {
    const std::pair both(add_executor(1), add_executor(2));
    accept(both.first);
    accept(both.second);
    return both;
  }

  void kill(ProcessId process) {
    Node& node = nodes_.at(process);
    world_.crash(*node.process);
    node.executor.reset();
    node.checkpoints.reset();
    nodes_.erase(process);
    master_->peers.erase(process);
  }

  [[nodiscard]] bool wait(const std::function<bool()>& predicate) {
    return world_.run_until(predicate, std::chrono::seconds(20));
  }

  void accept(ProcessId process) {
    answer_registration(process);
    ASSERT_TRUE(wait([&] { return master_->ready.contains(process); }));
    ASSERT_EQ(master_->ready[process].problem, "");
    ASSERT_EQ(master_->ready[process].probe, "seen");
  }

  void answer_registration(ProcessId process) {
    ASSERT_TRUE(wait([&] { return master_->registrations.contains(process); }));
    wire::ExecutorAccepted accepted;
    accepted.spec.name = "words";
    accepted.spec.type = "word_count";
    accepted.spec.state_partitions = kStatePartitions;
    accepted.spec.partition_hash = 1;
    accepted.spec.max_record_bytes = 1 << 20;
    accepted.spec.batch_interval_us = 10'000;
    accepted.spec.lane_memory_bytes = 8 << 20;
    accepted.spec.receiver = receiver_;
    accepted.spec.topic_id = topic_id_;
    accepted.log_probe = "logs";  // as a master that keeps embedded logs says of every job
    accepted.api = api_;
    accepted.probe_name = "probe/1";
    accepted.lease_ms = 1000;
    accepted.heartbeat_ms = 100;
    wire::Body body;
    body.__set_executor_accepted(accepted);
    master_->send(process, body);
  }

  // State partition p belongs to owners[p % size]; so do the log partitions. A partition whose owner changes gets the
  // number of this assignment as its generation.
  void assign(int64_t number, const std::vector<ProcessId>& owners, int64_t durable = 0, int64_t checkpoint = 0,
              std::vector<wire::CheckpointFile> files = {}, int64_t checkpoint_tick_ms = 0, int64_t published = 0) {
    wire::Assign assign;
    for (int32_t l = 0; l < kLogPartitions; ++l) {
      wire::LogOwner owner;
      owner.partition = l;
      owner.process = signed_of(owners[static_cast<size_t>(l) % owners.size()]);
      owner.read_from = planned_to_[l];
      assign.logs.push_back(owner);
    }
    for (int32_t p = 0; p < kStatePartitions; ++p) {
      const int64_t process = signed_of(owners[static_cast<size_t>(p) % owners.size()]);
      auto& [known, generation] = state_owners_[p];
      if (known != process) generation = number;
      known = process;
      wire::StateOwner owner;
      owner.partition = p;
      owner.process = process;
      owner.generation = generation;
      assign.states.push_back(owner);
    }
    for (const auto& [process, node] : nodes_) {
      wire::Peer peer;
      peer.process = signed_of(process);
      peer.endpoint = node.process->endpoint().address;
      assign.peers.push_back(peer);
    }
    assign.rank_owner = signed_of(owners[0]);
    assign.durable = durable;
    assign.checkpoint = checkpoint;
    assign.files = std::move(files);
    assign.checkpoint_tick_ms = checkpoint_tick_ms;
    assign.published = published;
    master_->assignment = number;
    master_->boundaries.clear();
    wire::Body body;
    body.__set_assign(assign);
    master_->send_all(body);
    mappers_ = owners;
  }

  void append(const std::string& line) {
    for (int32_t l = 0; l < kLogPartitions; ++l) {
      topic_.append(LogPartition(l), {FakeTopic::Record{0, std::nullopt, line}});
      ++appended_[l];
    }
  }

  // The plan of all that was appended and not yet planned, once it has been fetched.
  wire::RunBatch cut() {
    EXPECT_TRUE(wait([&] {
      for (int32_t l = 0; l < kLogPartitions; ++l) {
        if (master_->boundaries[l].to_offset < appended_[l]) return false;
      }
      return true;
    }));
    wire::RunBatch run;
    for (int32_t l = 0; l < kLogPartitions; ++l) {
      if (planned_to_[l] == appended_[l]) continue;
      wire::PlannedRange range;
      range.partition = l;
      range.from_offset = planned_to_[l];
      range.to_offset = appended_[l];
      range.records = range.to_offset - range.from_offset;
      range.mapper = signed_of(mappers_[static_cast<size_t>(l) % mappers_.size()]);
      planned_to_[l] = range.to_offset;
      run.ranges.push_back(range);
    }
    return run;
  }

  void run(int64_t batch, const wire::RunBatch& plan) {
    plans_[batch] = plan;
    wire::Body body;
    body.__set_run_batch(plan);
    master_->send_all(body, batch);
  }

  void progress(int64_t durable, int64_t applied = 0, int64_t checkpointed = 0) {
    wire::Progress progress;
    progress.durable = durable;
    progress.applied = applied;
    progress.checkpointed = checkpointed;
    wire::Body body;
    body.__set_progress(progress);
    master_->send_all(body);
  }

  [[nodiscard]] bool all_applied(int64_t batch) const {
    for (const auto& [p, owner] : state_owners_) {
      const auto found = master_->applied.find({p, owner.second});
      if (found == master_->applied.end() || found->second < batch) return false;
    }
    return true;
  }

  // Runs what was appended as one batch, up to its application everywhere.
  void run_through(int64_t batch, wire::RunBatch plan) {
    run(batch, plan);
    progress(batch);
    ASSERT_TRUE(wait([&] { return all_applied(batch); })) << "batch " << batch;
    progress(batch, batch);
  }

  // The value of a word as of a batch, by its owner.
  std::string get(const std::string& word, int64_t at) {
    const int32_t p = state_partition_of(word, kStatePartitions).value();
    wire::Query query;
    query.id = ++queries_;
    query.keys = {word};
    query.at = at;
    wire::Body body;
    body.__set_query(query);
    master_->send(process_of(state_owners_[p].first), body);
    const auto answered = [&] { return !master_->replies.empty() && master_->replies.back().id == queries_; };
    if (!wait(answered)) return "no answer";
    const wire::QueryReply& reply = master_->replies.back();
    if (!reply.problem.empty()) return reply.problem;
    return reply.entries.at(0).found ? reply.entries[0].text : "none";
  }

  void replay(int64_t batch, ProcessId mapper, const std::vector<int32_t>& partitions) {
    wire::Replay replay;
    for (const wire::PlannedRange& range : plans_[batch].ranges) {
      wire::ReplayTask task;
      task.batch = batch;
      task.range = range;
      task.partitions = partitions;
      replay.tasks.push_back(task);
    }
    wire::Body body;
    body.__set_replay(replay);
    master_->send(mapper, body);
  }

  JobFactory make_job_ = make_builtin_job;
  std::string receiver_;  // of the job
  std::string api_ = "here:1";
  std::string topic_id_;  // of the job; empty: its log has none, as Kafka's
  World world_{1, SimFaults::none()};
  FakeTopic topic_{kLogPartitions, 7};
  std::shared_ptr<FakeCheckpointDisk> disk_ = std::make_shared<FakeCheckpointDisk>();
  std::shared_ptr<FakeSinkServer> sink_ = std::make_shared<FakeSinkServer>(
      [](const std::string& key) { return state_partition_of(key, kStatePartitions); });
  std::unique_ptr<ScriptedMaster> master_;
  std::map<ProcessId, Node> nodes_;
  std::map<int32_t, std::pair<int64_t, int64_t>> state_owners_;  // process, generation
  std::vector<ProcessId> mappers_;
  std::map<int32_t, int64_t> appended_;
  std::map<int32_t, int64_t> planned_to_;
  std::map<int64_t, wire::RunBatch> plans_;
  int64_t queries_ = 0;
};

}  // namespace millrace
