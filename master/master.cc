#include "master/master.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/model/source_topics.h"

namespace millrace {

JobContext context_of(const wire::JobSpec& spec) {
  JobContext context;
  context.settings = spec.settings;
  context.state_partitions = spec.state_partitions;
  context.partition_hash = spec.partition_hash;
  context.max_record_bytes = spec.max_record_bytes;
  context.batch_interval_us = spec.batch_interval_us;
  context.topics = SourceTopics::of(spec.source).names();
  return context;
}

Master::Master(MasterOptions options, Deps deps)
    : options_(std::move(options)),
      deps_(std::move(deps)),
      messenger_({.self = options_.self, .role = wire::Role::MASTER, .version = options_.version}, deps_.network,
                 deps_.loop, *this),
      store_(deps_.metadata) {}

Master::~Master() = default;

void Master::start(std::move_only_function<void(Status)> ready) {
  const Result<Epoch> last = store_.read_epoch();
  if (!last.has_value()) return ready(std::unexpected(last.error()));
  epoch_ = last->next();
  WriteSet set;
  JobStore::put_epoch(set, epoch_);
  store_.commit(std::move(set), lifetime_.guard([this, ready = std::move(ready)](Status status) mutable {
    if (!status.has_value()) return ready(std::move(status));
    write_probe(std::move(ready));
  }));
}

// Executors prove with this file that they see the same checkpoint store.
void Master::write_probe(std::move_only_function<void(Status)> ready) {
  probe_name_ = "probe/" + to_string(options_.self);
  probe_content_ = to_hex(deps_.random.next_id());
  auto written = [this, ready = std::move(ready)](Result<bool> created) mutable {
    if (!created.has_value()) return ready(std::unexpected(created.error()));
    const Result<std::vector<wire::JobRecord>> jobs = store_.read_jobs();
    if (!jobs.has_value()) return ready(std::unexpected(jobs.error()));
    const auto killed = store_.read_killed();
    if (!killed.has_value()) return ready(std::unexpected(killed.error()));
    started_ = true;
    for (const auto& [job, name] : *killed) clear_away(job, name);
    for (const wire::JobRecord& job : *jobs) {
      if (Status adopted = adopt_job(job, true); !adopted.has_value()) {
        LOG(ERROR) << "job " << job.spec.name << " cannot be run: " << adopted.error().message;
      }
    }
    last_heartbeat_ = deps_.clock.now();
    heartbeat();
    for (auto& [from, envelope] : std::exchange(early_, {})) on_message(from, std::move(envelope), {});
    ready({});
  };
  deps_.checkpoints.create(probe_name_, probe_content_, lifetime_.guard(std::move(written)));
}

// --- jobs
// --------------------------------------------------------------------------------------------------------------

Status Master::adopt_job(wire::JobRecord record, bool executors_may_return) {
  JobController::Deps deps{deps_.loop, deps_.clock, {}, store_, deps_.checkpoints, nullptr, nullptr, *this};
  Status made = make_parts(record.spec, deps);
  if (!made.has_value()) {
    // As this program cannot run it, it is not to be forgotten either: people see it, and why, and its name is taken.
    // What is durable stays, so that another program can.
    record.state = wire::JobState::FAILED;
    record.problem = "it cannot be run: " + made.error().message;
  }
  const std::string name = record.spec.name;
  auto controller = std::make_unique<JobController>(options_.job, std::move(record), epoch_, std::move(deps));
  JobController* added = controller.get();
  jobs_[name] = std::move(controller);
  // Those that ended when it was stopped are no reason to hesitate now.
  std::erase_if(backoffs_, [&](const auto& backoff) { return backoff.first.second == added->id(); });
  added->start(executors_may_return);
  ensure_executors();
  return made;
}

// The code of others runs in the job's executors only, so its plan is what the client said; they compare it.
Result<JobPlan> Master::plan_of_job(const wire::JobSpec& spec) const {
  if (!spec.library.empty()) {
    if (options_.allow_job_libraries) return plan_from(spec.plan);
    return fail(ErrorCode::kInvalid,
                "this master takes no job libraries, because they run as its workers' user; start it with "
                "--allow_job_libraries if everybody who reaches --api may do that");
  }
  const auto job = deps_.make_job(spec.type, context_of(spec));
  if (!job.has_value()) return fail(ErrorCode::kInvalid, job.error().message);
  return plan_of(**job);
}

Status Master::make_parts(const wire::JobSpec& spec, JobController::Deps& deps) {
  Result<JobPlan> plan = plan_of_job(spec);
  if (!plan.has_value()) return std::unexpected(plan.error());
  deps.layout = std::move(plan->tables);
  auto sink = deps_.make_sink(spec);
  if (!sink.has_value()) return std::unexpected(sink.error());
  deps.sink = std::move(*sink);
  auto log = deps_.make_log(spec);
  if (!log.has_value()) return std::unexpected(log.error());
  deps.log = std::move(*log);
  return {};
}

void Master::drop_job(const std::string& name, bool was_killed) {
  const auto found = jobs_.find(name);
  if (found == jobs_.end()) return;
  const JobId job = found->second->id();
  const Error answer = was_killed ? Error{ErrorCode::kNotFound, "job '" + name + "' was killed meanwhile"}
                                  : Error{ErrorCode::kUnavailable, "job '" + name + "' is being resumed; ask again"};
  found->second->answer_all(answer);
  release_all_executors(job, was_killed ? "the job was killed" : "the job is begun anew");
  const auto is_of_job = [&](const auto& entry) { return entry.first.second == job; };
  std::erase_if(start_troubles_, is_of_job);
  std::erase_if(backoffs_, is_of_job);
  jobs_.erase(found);
}

// Its executors, and commits that were under way, may still write for a moment; and this master may end before all is
// removed, so that the next one does it.
void Master::clear_away(JobId job, const std::string& name, bool again) {
  auto listed = [this, job, name, again](Result<std::vector<std::string>> files) {
    if (!files.has_value()) {
      LOG(WARNING) << "checkpoints of job " << name
                   << ", which was killed, are left behind for now: " << files.error().message;
    } else if (!files->empty()) {
      deps_.checkpoints.remove(std::move(*files), [](Result<bool>) {});
    } else if (WriteSet set; again && store_.remove_all(set, job).has_value()) {
      JobStore::remove_killed(set, job);
      store_.commit(std::move(set), [](Status) {});
      return;
    }
    deps_.loop.schedule(options_.clear_pause, lifetime_.guard([this, job, name] { clear_away(job, name, true); }));
  };
  deps_.checkpoints.list(job_folder(name, job), lifetime_.guard(std::move(listed)));
}

JobController* Master::find_job(const std::string& name) {
  const auto found = jobs_.find(name);
  return found == jobs_.end() ? nullptr : found->second.get();
}

JobController* Master::find_job(JobId job) {
  for (const auto& [name, controller] : jobs_) {
    if (controller->id() == job) return controller.get();
  }
  return nullptr;
}

std::vector<JobController*> Master::all_jobs() {
  std::vector<JobController*> jobs;
  for (const auto& [name, controller] : jobs_) jobs.push_back(controller.get());
  return jobs;
}

// --- messages
// ----------------------------------------------------------------------------------------------------------

void Master::send(ProcessId to, wire::Envelope envelope) {
  messenger_.send(to, std::move(envelope));
}

void Master::send_body(ProcessId to, wire::Body body, JobId job) {
  wire::Envelope envelope;
  envelope.header.epoch = epoch_.value();
  envelope.header.job = signed_of(job);
  envelope.body = std::move(body);
  messenger_.send(to, std::move(envelope));
}

void Master::on_peer_up(const PeerInfo& peer) {
  VLOG(1) << "process " << to_string(peer.process) << " at " << peer.endpoint.address << " is there";
}

void Master::on_peer_unreachable(const PeerInfo& peer, const std::string& reason) {
  if (workers_.contains(peer.process)) lose_worker(peer.process, reason);
  if (executors_.contains(peer.process)) lose_executor(peer.process, reason, Witness::kItsConnection);
}

void Master::on_refused(const Endpoint& endpoint, const std::string& reason) {
  LOG(WARNING) << endpoint.address << " refuses to talk to this master: " << reason;
}

void Master::on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer) {
  if (!started_) {
    // Workers of a former master are quick to come back. They are few, and each says little before it is answered.
    if (early_.size() < kMaxEarlyMessages) early_.push_back({from, std::move(envelope)});
    return;
  }
  const MonotonicTime now = deps_.clock.now();
  const wire::Body& body = envelope.body;
  if (const auto worker = workers_.find(from.process); worker != workers_.end()) worker->second.heard = now;
  if (body.__isset.heartbeat) {
    if (const auto found = executors_.find(from.process); found != executors_.end()) {
      found->second.heard = now;
      note_unreachable(found->second, body.heartbeat);
      JobController* job = body.heartbeat.__isset.figures ? find_job(found->second.job) : nullptr;
      if (job != nullptr) job->note_figures(from.process, body.heartbeat.figures);
    }
    return;
  }
  if (body.__isset.register_worker) return register_worker(from, body.register_worker);
  if (body.__isset.drain_worker) return drain_worker(from.process);
  if (body.__isset.executor_ended) {
    return executor_ended(from.process, body.executor_ended);
  }
  if (body.__isset.register_executor) return register_executor(from, envelope);

  const auto executor = executors_.find(from.process);
  if (executor == executors_.end()) return;
  executor->second.heard = now;
  if (body.__isset.executor_ready) return executor_ready(from, body.executor_ready);
  if (envelope.header.epoch != epoch_.value()) return;
  if (JobController* job = find_job(executor->second.job); job != nullptr) {
    job->on_message(from.process, std::move(envelope));
  }
}

void Master::heartbeat() {
  const MonotonicTime now = deps_.clock.now();
  // If this master itself stood still, it has not listened: nobody is judged by that time.
  const bool stood_still = now - last_heartbeat_ > options_.heartbeat + options_.lease / 4;
  last_heartbeat_ = now;
  wire::Body beat;
  beat.__set_heartbeat({});
  std::vector<ProcessId> silent;
  for (auto& [process, worker] : workers_) {
    if (stood_still) worker.heard = now;
    send_body(process, beat);
    if (now - worker.heard > options_.declare_dead) silent.push_back(process);
  }
  for (auto& [process, executor] : executors_) {
    if (stood_still) executor.heard = now;
    if (stood_still) executor.unreachable.clear();
    if (executor.state == ExecutorEntry::State::kReady) {
      send_body(process, beat, executor.job);
      if (now - executor.heard > options_.declare_dead) silent.push_back(process);
    } else if (now - executor.since > options_.start_limit) {
      silent.push_back(process);
    }
  }
  for (ProcessId process : silent) {
    const std::string reason = "nothing was heard of it for too long";
    if (workers_.contains(process)) lose_worker(process, reason);
    if (executors_.contains(process)) lose_executor(process, reason);
  }
  give_up_unreachable();
  ensure_executors();
  deps_.loop.schedule(options_.heartbeat, lifetime_.guard([this] { heartbeat(); }));
}

// --- workers
// -----------------------------------------------------------------------------------------------------------

void Master::register_worker(const PeerInfo& from, const wire::RegisterWorker& request) {
  Worker worker;
  worker.peer = from;
  worker.name = request.name;
  worker.http = request.http;
  worker.lanes = std::max(1, request.lanes);
  worker.heard = deps_.clock.now();
  workers_[from.process] = worker;
  for (const wire::RunningExecutor& running : request.executors) {
    ExecutorEntry entry;
    entry.job = job_of(running.job);
    entry.worker = from.process;
    entry.since = entry.heard = deps_.clock.now();
    executors_.try_emplace(process_of(running.process), std::move(entry));
  }
  LOG(INFO) << "worker " << request.name << " at " << from.endpoint.address << " joins with " << worker.lanes
            << " lanes";
  wire::WorkerAccepted accepted;
  accepted.lease_ms = to_ms(options_.lease);
  accepted.heartbeat_ms = to_ms(options_.heartbeat);
  wire::Body body;
  body.__set_worker_accepted(accepted);
  send_body(from.process, body);
  ensure_executors();
}

void Master::drain_worker(ProcessId process) {
  const auto worker = workers_.find(process);
  if (worker == workers_.end()) return;
  LOG(INFO) << "worker " << worker->second.name << " leaves: its partitions move";
  worker->second.draining = true;
  // A job may release an executor at once, which takes it out of executors_.
  std::vector<std::pair<ProcessId, JobController*>> leaving;  // job null: the executor holds nothing yet
  for (const auto& [id, executor] : executors_) {
    if (executor.worker != process) continue;
    leaving.emplace_back(id, executor.state == ExecutorEntry::State::kReady ? find_job(executor.job) : nullptr);
  }
  for (const auto& [id, job] : leaving) {
    if (job != nullptr) {
      job->drain_executor(id);
    } else {
      stop_executor(id, "its worker leaves");
    }
  }
  finish_drain(process);
}

void Master::finish_drain(ProcessId process) {
  const auto worker = workers_.find(process);
  if (worker == workers_.end() || !worker->second.draining) return;
  const bool busy = std::any_of(executors_.begin(), executors_.end(),
                                [&](const auto& entry) { return entry.second.worker == process; });
  if (busy) return;
  wire::Body body;
  body.__set_worker_drained({});
  send_body(process, body);
}

void Master::lose_worker(ProcessId process, const std::string& reason) {
  const auto found = workers_.find(process);
  LOG(WARNING) << "worker " << found->second.name << " is lost: " << reason;
  workers_.erase(found);
  messenger_.forget(process);
  std::vector<ProcessId> starting;
  for (const auto& [id, executor] : executors_) {
    if (executor.worker == process && executor.state == ExecutorEntry::State::kStarting) starting.push_back(id);
  }
  const auto is_of_worker = [&](const auto& entry) { return entry.first.first == process; };
  std::erase_if(start_troubles_, is_of_worker);
  std::erase_if(backoffs_, is_of_worker);
  // Those that run are judged by their own connections.
  for (ProcessId id : starting) lose_executor(id, "its worker is lost");
}

}  // namespace millrace
