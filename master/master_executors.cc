// Master: executors: starting them, their handshake, judging them, and how they end.

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/model/uri.h"
#include "master/master.h"
#include "master/peer_cuts.h"

namespace millrace {
namespace {}  // namespace

void Master::ensure_executors() {
  const MonotonicTime now = deps_.clock.now();
  for (const auto& [name, job] : jobs_) {
    if (!job->needs_executors() && job->phase() != JobController::Phase::kLoading) continue;
    for (const auto& [process, worker] : workers_) {
      if (worker.draining) continue;
      const bool has_one = std::any_of(executors_.begin(), executors_.end(), [&, id = process](const auto& entry) {
        return entry.second.worker == id && entry.second.job == job->id();
      });
      const auto backoff = backoffs_.find({process, job->id()});
      if (has_one || (backoff != backoffs_.end() && now < backoff->second.not_before)) continue;
      start_executor(worker, *job);
    }
  }
}

void Master::start_executor(const Worker& worker, const JobController& job) {
  const ProcessId process(deps_.random.next_id());
  ExecutorEntry entry;
  entry.job = job.id();
  entry.worker = worker.peer.process;
  entry.since = entry.heard = deps_.clock.now();
  executors_[process] = std::move(entry);
  wire::StartExecutor request;
  request.process = signed_of(process);
  request.job_name = job.record().spec.name;
  request.checkpoints = options_.checkpoints;
  request.logs = options_.logs;
  wire::Body body;
  body.__set_start_executor(request);
  send_body(worker.peer.process, body, job.id());
}

void Master::register_executor(const PeerInfo& from, const wire::Envelope& envelope) {
  const JobId id(static_cast<uint64_t>(envelope.header.job));
  JobController* job = find_job(id);
  const bool wanted = job != nullptr && (job->needs_executors() || job->phase() == JobController::Phase::kLoading);
  // What an executor of a former incarnation holds is no state of this one.
  const int32_t incarnation = envelope.header.incarnation;
  const bool is_former = wanted && incarnation != 0 && incarnation != job->record().incarnation;
  if (!wanted || is_former) {
    wire::ResetExecutor reset;
    reset.reason = "job " + to_string(id) + (is_former ? " went back to a checkpoint" : " does not run here");
    wire::Body body;
    body.__set_reset_executor(reset);
    return send_body(from.process, body, id);
  }
  ExecutorEntry& entry = executors_[from.process];
  entry.job = id;
  entry.worker = process_of(envelope.body.register_executor.worker);
  entry.state = ExecutorEntry::State::kRegistered;
  entry.heard = deps_.clock.now();
  if (entry.since == MonotonicTime()) entry.since = entry.heard;
  entry.registration = envelope.body.register_executor;
  entry.was_assigned = envelope.header.generation > 0;
  entry.endpoint = from.endpoint;
  wire::ExecutorAccepted accepted;
  accepted.spec = job->record().spec;
  accepted.probe_name = probe_name_;
  const auto source = parse_uri(accepted.spec.source);
  if (source && source->scheme == "log") accepted.log_probe = options_.logs;  // a topic of Kafka has one place only
  accepted.api = options_.api;
  accepted.lease_ms = to_ms(options_.lease);
  accepted.heartbeat_ms = to_ms(options_.heartbeat);
  wire::Body body;
  body.__set_executor_accepted(accepted);
  wire::Envelope answer;
  answer.header.job = envelope.header.job;
  answer.header.incarnation = job->record().incarnation;
  answer.header.epoch = epoch_.value();
  answer.body = std::move(body);
  messenger_.send(from.process, std::move(answer));
}

void Master::executor_ready(const PeerInfo& from, const wire::ExecutorReady& ready) {
  ExecutorEntry& entry = executors_.at(from.process);
  JobController* job = find_job(entry.job);
  const auto worker = workers_.find(entry.worker);
  const std::string where = worker != workers_.end() ? worker->second.name : from.endpoint.address;
  std::string problem = ready.problem;
  if (problem.empty() && ready.probe != probe_content_) {
    problem =
        "it does not see the same checkpoint store as the master; mount " + options_.checkpoints + " on all hosts";
  }
  if (job == nullptr) problem = "its job is gone";
  if (job == nullptr || !problem.empty()) {
    LOG(ERROR) << "executor on worker " << where << " is refused: " << problem;
    const std::pair key(entry.worker, entry.job);
    if (job != nullptr) start_troubles_[key] = "worker " + where + " is refused: " + problem;
    stop_executor(from.process, problem);
    // Only somebody who mends the host changes that.
    Backoff& backoff = backoffs_[key];
    backoff.refusals = std::min(backoff.refusals + 1, 16);
    backoff.not_before = deps_.clock.now() + std::min<Duration>(options_.restart_pause * (1 << backoff.refusals),
                                                                options_.refused_pause_most);
    return;
  }
  if (entry.state != ExecutorEntry::State::kRegistered) return;
  entry.state = ExecutorEntry::State::kReady;
  start_troubles_.erase({entry.worker, entry.job});
  backoffs_[{entry.worker, entry.job}].refusals = 0;
  Member member;
  member.process = from.process;
  member.worker_name = where;
  member.endpoint = entry.endpoint;
  member.lanes = std::max(1, entry.registration.lanes);
  member.owned = entry.registration.owned;
  member.was_assigned = entry.was_assigned;
  const bool draining = worker != workers_.end() && worker->second.draining;
  job->add_executor(std::move(member));
  if (draining) job->drain_executor(from.process);
}

void Master::lose_executor(ProcessId process, const std::string& reason, Witness witness) {
  const auto found = executors_.find(process);
  if (found == executors_.end()) return;
  const ExecutorEntry entry = found->second;
  executors_.erase(found);
  messenger_.forget(process);
  if (workers_.contains(entry.worker)) {
    Backoff& backoff = backoffs_[{entry.worker, entry.job}];
    const bool was_young = deps_.clock.now() - entry.since < std::chrono::seconds(5);
    backoff.failures = was_young ? std::min(backoff.failures + 1, 16) : 0;
    const Duration pause =
        std::min<Duration>(options_.restart_pause * (1 << backoff.failures), options_.restart_pause_most);
    backoff.not_before = deps_.clock.now() + pause;
    wire::StopExecutor stop;
    stop.process = signed_of(process);
    wire::Body body;
    body.__set_stop_executor(stop);
    send_body(entry.worker, body, entry.job);
    if (const JobController* job = find_job(entry.job); job != nullptr && entry.state != ExecutorEntry::State::kReady) {
      const bool was_loading = entry.state == ExecutorEntry::State::kRegistered && !job->record().spec.library.empty();
      std::string trouble =
          "the executor on worker " + workers_.at(entry.worker).name + " ended before it was ready (" + reason + ")" +
          (was_loading ? ", most likely because of what the job's library does when it is loaded" : "") +
          (witness == Witness::kItsAgent ? "" : "; see the log of that worker");
      std::string& told = start_troubles_[{entry.worker, entry.job}];
      if (told.empty() || witness == Witness::kItsAgent) told = std::move(trouble);
    }
  }
  if (JobController* job = find_job(entry.job); job != nullptr) {
    job->remove_executor(process, reason, witness != Witness::kOthers);
    deps_.loop.post(lifetime_.guard([this, id = entry.job] {
      if (JobController* left = find_job(id); left != nullptr) left->reconsider();
    }));
  }
  finish_drain(entry.worker);
}

// As a rule its connection has told before that it is gone.
void Master::executor_ended(ProcessId agent, const wire::ExecutorEnded& ended) {
  const ProcessId process = process_of(ended.process);
  lose_executor(process, ended.reason, Witness::kItsAgent);
  const auto worker = workers_.find(agent);
  if (worker == workers_.end()) return;
  for (const auto& [name, job] : jobs_) job->executor_ended(process, worker->second.name, ended.reason);
}

void Master::stop_executor(ProcessId process, const std::string& reason) {
  wire::ResetExecutor reset;
  reset.reason = reason;
  wire::Body body;
  body.__set_reset_executor(reset);
  send_body(process, body);
  lose_executor(process, reason);
}

void Master::note_unreachable(ExecutorEntry& executor, const wire::Heartbeat& heartbeat) {
  std::map<ProcessId, MonotonicTime> now;
  for (int64_t number : heartbeat.unreachable) {
    const auto before = executor.unreachable.find(process_of(number));
    now[process_of(number)] = before == executor.unreachable.end() ? deps_.clock.now() : before->second;
  }
  executor.unreachable = std::move(now);
}

// Executors that say for long that they cannot reach each other, and are both heard: a job waits for ever for the
// blocks between them. One that is silent is judged by its silence.
void Master::give_up_unreachable() {
  const MonotonicTime now = deps_.clock.now();
  std::vector<PeerCut> cuts;
  std::map<ProcessId, MonotonicTime> since;
  const auto is_heard = [&](const ExecutorEntry& executor) {
    return executor.state == ExecutorEntry::State::kReady && now - executor.heard < options_.lease;
  };
  for (const auto& [process, executor] : executors_) {
    since[process] = executor.since;
    for (const auto& [peer, told] : executor.unreachable) {
      const auto other = executors_.find(peer);
      if (other == executors_.end() || other->second.job != executor.job) continue;
      // Its own lease has passed before it said so.
      const bool long_enough = now - told >= options_.declare_dead - options_.lease;
      if (long_enough && is_heard(executor) && is_heard(other->second)) cuts.emplace_back(process, peer);
    }
  }
  for (ProcessId process : choose_whom_to_give_up(std::move(cuts), since)) give_up_executor(process);
}

void Master::give_up_executor(ProcessId process) {
  const auto found = executors_.find(process);
  if (found == executors_.end()) return;  // released as one before it was given up: all that were left are leaving
  const ExecutorEntry entry = found->second;
  const auto worker = workers_.find(entry.worker);
  stop_executor(process, "it and other executors of its job cannot reach each other");
  if (worker == workers_.end()) return;
  // Its successor will most likely be cut off too, and the job stands still until that is known.
  Backoff& backoff = backoffs_[{entry.worker, entry.job}];
  const bool soon = deps_.clock.now() - entry.since < options_.cut_pause_most;
  backoff.cuts = soon ? std::min(backoff.cuts + 1, 16) : 1;
  const Duration pause = std::min<Duration>(options_.cut_pause * (1 << (backoff.cuts - 1)), options_.cut_pause_most);
  backoff.not_before = deps_.clock.now() + pause;
  start_troubles_[{entry.worker, entry.job}] =
      "worker " + worker->second.name + " is left out for " + std::to_string(to_ms(pause) / 1000) +
      " s: it and other workers cannot reach each other; let all workers connect to each other's ports";
  LOG(ERROR) << "job " << to_string(entry.job) << ": " << start_troubles_.at({entry.worker, entry.job});
}

std::string Master::start_trouble(JobId job) const {
  for (const auto& [where, trouble] : start_troubles_) {
    if (where.second == job) return trouble;
  }
  const bool one_stays = std::ranges::any_of(workers_, [](const auto& entry) { return !entry.second.draining; });
  const bool has_one = std::ranges::any_of(executors_, [&](const auto& entry) { return entry.second.job == job; });
  return one_stays || has_one ? "" : "no worker is there; start millrace-worker";
}

std::string Master::worker_trouble(ProcessId worker) const {
  for (const auto& [where, trouble] : start_troubles_) {
    if (where.first == worker) return trouble;
  }
  return "";
}

bool Master::expects_executors(JobId job) const {
  return std::any_of(executors_.begin(), executors_.end(), [&](const auto& entry) {
    return entry.second.job == job && entry.second.state != ExecutorEntry::State::kReady;
  });
}

void Master::release_executor(JobId, ProcessId process, const std::string& reason) {
  stop_executor(process, reason);
}

void Master::release_all_executors(JobId job, const std::string& reason) {
  std::vector<ProcessId> all;
  for (const auto& [process, executor] : executors_) {
    if (executor.job == job) all.push_back(process);
  }
  for (ProcessId process : all) stop_executor(process, reason);
}

}  // namespace millrace
