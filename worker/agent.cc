#include "worker/agent.h"

#include <utility>

#include "common/base/check.h"
#include "common/base/log_context.h"

namespace millrace {

Agent::Agent(AgentOptions options, Deps deps)
    : options_(std::move(options)),
      deps_(std::move(deps)),
      messenger_({.self = options_.self, .role = wire::Role::AGENT, .version = options_.version}, deps_.network,
                 deps_.loop, *this) {}

void Agent::start() {
  messenger_.connect(options_.master);
  heartbeat();
}

void Agent::drain() {
  if (draining_) return;
  draining_ = true;
  if (!connected()) {
    deps_.exit(Exit::kDrained, "no master is there to hand over to");
    return;
  }
  wire::Body body;
  body.__set_drain_worker({});
  send(body);
}

void Agent::on_peer_up(const PeerInfo& peer) {
  if (peer.role != wire::Role::MASTER) return;
  if (master_ != ProcessId(0) && master_ != peer.process) messenger_.forget(master_);
  master_ = peer.process;
  master_lost_ = false;
  LOG(INFO) << "the master at " << peer.endpoint.address << " is there";
  register_here();
}

void Agent::register_here() {
  wire::RegisterWorker request;
  request.name = options_.name;
  request.lanes = options_.lanes;
  request.http = options_.http;
  for (const auto& [process, job] : executors_) {
    wire::RunningExecutor running;
    running.process = signed_of(process);
    running.job = signed_of(job);
    request.executors.push_back(running);
  }
  wire::Body body;
  body.__set_register_worker(request);
  send(body);
  if (!draining_) return;
  wire::Body drain_body;
  drain_body.__set_drain_worker({});
  send(drain_body);
}

void Agent::on_peer_unreachable(const PeerInfo& peer, const std::string& reason) {
  if (peer.process != master_) return;
  master_lost_ = true;
  LOG(WARNING) << "the master at " << peer.endpoint.address << " is lost (" << reason
               << "); the executors go on, waiting for it or its successor";
  if (draining_) deps_.exit(Exit::kDrained, "the master is gone");
}

void Agent::on_refused(const Endpoint& endpoint, const std::string& reason) {
  for (const auto& [process, job] : executors_) deps_.launcher.end(process);
  // A master that once accepted this process and now does not has declared it dead.
  const Exit why = master_ == ProcessId(0) ? Exit::kRefused : Exit::kDeclaredDead;
  deps_.exit(why, "the master at " + endpoint.address + " refuses this worker: " + reason);
}

void Agent::on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer) {
  if (from.process != master_) return;
  master_lost_ = false;
  const wire::Body& body = envelope.body;
  if (body.__isset.start_executor) return start_executor(envelope);
  if (body.__isset.stop_executor) {
    return deps_.launcher.end(process_of(body.stop_executor.process));
  }
  if (body.__isset.worker_drained) deps_.exit(Exit::kDrained, "everything is handed over");
}

void Agent::start_executor(const wire::Envelope& envelope) {
  const wire::StartExecutor& request = envelope.body.start_executor;
  LaunchRequest launch;
  launch.process = process_of(request.process);
  launch.worker = options_.self;
  launch.job = job_of(envelope.header.job);
  launch.job_name = request.job_name;
  launch.memory_limit_bytes = request.memory_limit_bytes;
  launch.checkpoints = request.checkpoints;
  launch.logs = request.logs;
  const LogContext context(request.job_name, BatchId(0));
  const ProcessId process = launch.process;
  if (draining_ || executors_.contains(process)) return;
  executors_[process] = launch.job;
  const Status started = deps_.launcher.launch(
      launch, lifetime_.guard([this, process](const std::string& reason) { executor_ended(process, reason); }));
  if (started.has_value()) {
    ++started_;
    LOG(INFO) << "executor " << to_string(process) << " of job " << launch.job_name << " is started";
    return;
  }
  LOG(ERROR) << "no executor for job " << launch.job_name << ": " << started.error().message;
  executor_ended(process, started.error().message);
}

void Agent::executor_ended(ProcessId process, const std::string& reason) {
  const auto found = executors_.find(process);
  if (found == executors_.end()) return;
  const JobId job = found->second;
  executors_.erase(found);
  ++ended_;
  LOG(INFO) << "executor " << to_string(process) << " ended: " << reason;
  wire::ExecutorEnded ended;
  ended.process = signed_of(process);
  ended.reason = reason;
  wire::Body body;
  body.__set_executor_ended(ended);
  send(body, job);
}

void Agent::heartbeat() {
  if (connected()) {
    wire::Body body;
    body.__set_heartbeat({});
    send(body);
  } else {
    tell_waiting();
  }
  deps_.loop.schedule(options_.heartbeat, lifetime_.guard([this] { heartbeat(); }));
}

// To people, soon and then now and then: a wrong --master looks like a master that is not up yet.
void Agent::tell_waiting() {
  constexpr int64_t kFirst = 4;  // in heartbeats
  constexpr int64_t kEvery = 120;
  if (++beats_without_master_ % kEvery != kFirst) return;
  LOG(WARNING) << "no master answers at " << options_.master.address
               << ", this worker waits for it; start millrace-master there or correct --master";
}

void Agent::send(wire::Body body, JobId job) {
  if (master_ == ProcessId(0)) return;
  wire::Envelope envelope;
  envelope.header.job = signed_of(job);
  envelope.body = std::move(body);
  messenger_.send(master_, std::move(envelope));
}

}  // namespace millrace
