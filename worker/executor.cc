#include "worker/executor.h"

#include "common/base/check.h"
#include "common/base/log_context.h"
#include "common/model/duration.h"
#include "common/model/hash.h"
#include "common/model/source_topics.h"
#include "worker/executor_work.h"

namespace millrace {
namespace {

constexpr uint64_t kFiguresEvery = 4;  // heartbeats

}  // namespace

Executor::Executor(ExecutorOptions options, Deps deps)
    : options_(std::move(options)),
      deps_(std::move(deps)),
      messenger_({.self = options_.process, .role = wire::Role::EXECUTOR, .version = options_.version}, deps_.network,
                 deps_.loop, *this),
      reports_(deps_.loop, [this](BatchId batch, const wire::Body& body) { report_to_master(batch, body); }),
      router_(messenger_,
              {.deliver_block =
                   [this](std::shared_ptr<const ShuffleBlock> block) {
                     work_->lanes->call_all([block = std::move(block)](Lane& lane) { lane.add_block(*block); });
                   },
               .deliver_levels =
                   [this](const LevelBlocks& blocks) {
                     work_->lanes->call_all([blocks](Lane& lane) { lane.add_levels(blocks); });
                   },
               .deliver_rank = [this](RankShare share) { on_rank_candidates(std::move(share)); },
               .header = [this](BatchId batch) { return header(batch); },
               .failed = [this](Error error) { on_failed(std::move(error)); }}) {}

Executor::~Executor() = default;

bool Executor::is_appending() const {
  return work_ != nullptr && work_->appender->is_behind();
}

void Executor::start() {
  messenger_.connect(options_.master);
  beat();
}

void Executor::end(int exit_code, const std::string& reason) {
  if (ended_) return;
  ended_ = true;
  // Not at once: whoever is told may destroy this.
  deps_.loop.post(lifetime_.guard([this, exit_code, reason] { deps_.exit(exit_code, reason); }));
}

// --- the network -------------------------------------------------------------------------------------------------

void Executor::on_peer_up(const PeerInfo& peer) {
  if (ended_) return;
  if (peer.role == wire::Role::EXECUTOR) router_.peer_up(peer.process);
  if (peer.role != wire::Role::MASTER || peer.process == master_) return;
  if (master_ != ProcessId(0)) messenger_.forget(master_);
  master_ = peer.process;
  register_with_master();
}

void Executor::on_peer_unreachable(const PeerInfo& peer, const std::string& reason) {
  LOG(WARNING) << (peer.role == wire::Role::MASTER ? "the master" : "executor " + to_string(peer.process)) << " at "
               << peer.endpoint.address << " cannot be reached now: " << reason;
}

void Executor::on_refused(const Endpoint& endpoint, const std::string& reason) {
  if (endpoint == options_.master) {
    end(1, "the master at " + endpoint.address + " refuses this executor: " + reason);
    return;
  }
  LOG(ERROR) << "the executor at " << endpoint.address << " refuses to talk: " << reason;
}

void Executor::on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer bulk) {
  const wire::Header& head = envelope.header;
  const bool mine = head.job == 0 || job_of(head.job) == options_.job;
  const LogContext context("", BatchId(head.batch));
  if (ended_ || !mine) return;
  if (from.role == wire::Role::MASTER) {
    if (from.process != master_ || Epoch(head.epoch) < epoch_) return;
    epoch_ = Epoch(head.epoch);
    last_heard_ = deps_.clock.now();
    on_master_message(envelope);
    return;
  }
  if (work_ == nullptr || from.role != wire::Role::EXECUTOR) return;
  if (Incarnation(head.incarnation) != incarnation_) return;
  if (envelope.body.__isset.shuffle || envelope.body.__isset.rank_candidates) {
    router_.receive(from, std::move(envelope), bulk);
  }
}

wire::Header Executor::header(BatchId batch) const {
  wire::Header result;
  result.job = signed_of(options_.job);
  result.incarnation = incarnation_.value();
  result.epoch = router_.stamp().epoch.value();
  result.generation = router_.stamp().generation.value();
  result.batch = batch.value();
  return result;
}

void Executor::send_to_master(BatchId batch, const wire::Body& body) {
  if (ended_ || master_ == ProcessId(0)) return;
  wire::Envelope envelope;
  envelope.header = header(batch);
  envelope.header.epoch = epoch_.value();
  envelope.body = body;
  messenger_.send(master_, std::move(envelope));
}

void Executor::report_to_master(BatchId batch, const wire::Body& body) {
  // Whatever a new master has not assigned is nothing to it; after its assignment all is told again or asked for.
  if (router_.stamp().epoch == epoch_) send_to_master(batch, body);
}

// --- registration ------------------------------------------------------------------------------------------------

void Executor::register_with_master() {
  wire::RegisterExecutor registration;
  registration.worker = signed_of(options_.worker);
  registration.lanes = static_cast<int32_t>(options_.lanes);
  for (const auto& [partition, owned] : owned_) {
    registration.owned.push_back(owned_partition({partition, owned.generation}, owned.applied, owned.begun));
  }
  wire::Body body;
  body.__set_register_executor(registration);
  send_to_master(BatchId(0), body);
}

void Executor::on_accepted(const wire::Header& head, const wire::ExecutorAccepted& accepted) {
  const bool first = !accepted_;
  accepted_ = accepted;
  if (accepted.lease_ms > 0) lease_ = std::chrono::milliseconds(accepted.lease_ms);
  if (accepted.heartbeat_ms > 0) heartbeat_ = std::chrono::milliseconds(accepted.heartbeat_ms);
  if (first) load_job(head, accepted.spec);
  check_ready();
}

void Executor::load_job(const wire::Header& head, const wire::JobSpec& spec) {
  const auto start = [this, head](const wire::JobSpec& of, const JobFactory& make_job) {
    if (const Status started = start_job(head, of, make_job); !started) problem_ = started.error().message;
  };
  if (spec.library.empty()) return start(spec, deps_.make_job);
  deps_.checkpoints.read(spec.library, lifetime_.guard([this, spec, start](const Result<std::string>& bytes) {
    if (!bytes) {
      problem_ = "cannot read the job's library: " + bytes.error().message;
    } else if (hash_of(*bytes) != static_cast<uint64_t>(spec.library_hash)) {
      problem_ = "the job's library " + spec.library + " in the checkpoint store is damaged; submit the job again";
    } else if (const Result<JobFactory> library = deps_.load_library(*bytes, "the library of job " + spec.name);
               !library) {
      problem_ = library.error().message;
    } else {
      start(spec, *library);
    }
    check_ready();
  }));
}

Status Executor::start_job(const wire::Header& head, const wire::JobSpec& spec, const JobFactory& make_job) {
  JobContext context;
  context.settings = spec.settings;
  context.state_partitions = spec.state_partitions;
  context.partition_hash = spec.partition_hash;
  context.max_record_bytes = spec.max_record_bytes;
  context.batch_interval_us = spec.batch_interval_us;
  context.topics = SourceTopics::of(spec.source).names();
  Result<std::shared_ptr<const Job>> job = make_job(spec.type, context);
  if (!job) return std::unexpected(job.error());
  if (const JobPlan plan = plan_from(spec.plan); !plan.tables.empty() && plan_of(**job) != plan) {
    const std::string remedy = spec.library.empty() ? "run the same version everywhere"
                                                    : "its library was changed meanwhile: kill it and submit it again";
    return fail(ErrorCode::kInvalid,
                "this worker makes another job of type '" + spec.type + "' than the one that was submitted; " + remedy);
  }
  Result<std::unique_ptr<Sink>> sink = deps_.make_sink(spec);
  if (!sink) return std::unexpected(sink.error());
  auto outputs = make_outputs(spec, *job);
  if (!outputs) return std::unexpected(outputs.error());
  make_work(Incarnation(head.incarnation), spec, std::move(*job), std::move(*sink), std::move(*outputs));
  // To be compared by log_problem().
  work_->lanes->open(!accepted_->log_probe.empty() && !spec.topic_id.empty());
  return {};
}

Result<std::vector<Appender::Named>> Executor::make_outputs(const wire::JobSpec& spec,
                                                            const std::shared_ptr<const Job>& job) const {
  std::vector<Appender::Named> outputs;
  for (const OutputPlan& plan : job->outputs()) {
    const auto place = spec.outputs.find(plan.name);
    OutputTarget target{.job_name = spec.name,
                        .job = options_.job,
                        .plan = plan,
                        .uri = place == spec.outputs.end() ? "" : place->second,
                        .config = spec.output_config,
                        .make_function = nullptr};
    target.make_function = [job, index = outputs.size()] { return job->make_batch_function(index); };
    Result<std::unique_ptr<Output>> output = deps_.make_output(target);
    if (!output) return std::unexpected(output.error());
    outputs.push_back({plan.name, std::move(*output), plan.parts});
  }
  return outputs;
}

// An embedded log that is another one under the same name would be read without a word, so it has to prove itself.
std::string Executor::log_problem() const {
  const std::string& expected = accepted_->spec.topic_id;
  if (!log_ || expected.empty() || log_->topic_id == expected) return "";
  return "this worker does not see the log that the master sees (" + accepted_->spec.source + " in " +
         accepted_->log_probe + "); start it on the master's host, or use Kafka";
}

void Executor::check_ready() {
  if (!accepted_) return;
  if (problem_.empty() && (work_ == nullptr || lanes_open_ < work_->lanes->size())) return;
  if (problem_.empty()) problem_ = log_problem();
  if (!problem_.empty()) {
    send_ready("", problem_);
    return;
  }
  const std::string name = accepted_->probe_name;
  if (name.empty()) {
    send_ready("", "");
    return;
  }
  deps_.checkpoints.read(name, lifetime_.guard([this, name, master = master_](const Result<std::string>& probe) {
    if (master != master_) return;  // the new one asks for its own
    if (probe) {
      send_ready(*probe, "");
    } else {
      send_ready("", "this worker does not see the checkpoint store of the master (" + probe.error().message +
                         "); mount the shared directory of its --checkpoints there under the same path");
    }
  }));
}

void Executor::send_ready(const std::string& probe, const std::string& problem) {
  wire::ExecutorReady ready;
  ready.probe = probe;
  ready.problem = problem;
  wire::Body body;
  body.__set_executor_ready(ready);
  send_to_master(BatchId(0), body);
}

// --- lease -------------------------------------------------------------------------------------------------------

bool Executor::lease_holds() const {
  return deps_.clock.now() - last_heard_ < lease_;
}

void Executor::beat() {
  if (ended_) return;
  wire::Heartbeat heartbeat;
  for (ProcessId peer : router_.unreachable_for(lease_, deps_.clock.now())) {
    heartbeat.unreachable.push_back(signed_of(peer));
  }
  if (work_ != nullptr && beats_++ % kFiguresEvery == 0) heartbeat.__set_figures(figures());
  wire::Body body;
  body.__set_heartbeat(heartbeat);
  send_to_master(BatchId(0), body);
  if (work_ != nullptr) {
    work_->publisher->resume();
    work_->appender->resume();
    work_->appender->look(heartbeat_, options_.lane_timeout);
    look_after_lanes();
  }
  deps_.loop.schedule(heartbeat_, lifetime_.guard([this] { beat(); }));
}

wire::ExecutorFigures Executor::figures() const {
  wire::ExecutorFigures all;
  for (size_t lane = 0; lane < work_->lanes->size(); ++lane) {
    const LaneFigures& noted = work_->lanes->figures(lane);
    wire::LaneFigures& told = all.lanes.emplace_back();
    told.busy_us = noted.busy_us;
    told.read_ahead_bytes = noted.read_ahead_bytes;
    told.kept_bytes = noted.kept_bytes;
  }
  all.messages_bytes = static_cast<int64_t>(messenger_.unacknowledged_bytes());
  all.sink_waiting = static_cast<int64_t>(work_->publisher->waiting());
  all.appends_waiting = static_cast<int64_t>(work_->appender->waiting());
  return all;
}

// Only the lane's thread hangs: this one beats, so nobody else would notice. Another process would come to the same
// record, and a function that is only slow would never get beyond it: so people decide.
void Executor::look_after_lanes() {
  const std::vector<bool> stuck = work_->watch.look(heartbeat_, options_.lane_timeout);
  for (size_t lane = 0; lane < stuck.size(); ++lane) {
    const std::string place = "lane " + std::to_string(lane);
    if (!stuck[lane]) {
      reports_.trouble(place, "");
      continue;
    }
    const std::string what = "the job's code does not come back: " + place + " has been at the " +
                             work_->lanes->activity(lane)->text() + " for more than " +
                             duration_text_ms(to_ms(options_.lane_timeout)) + ", and all wait for it";
    reports_.trouble(place, what, MasterReports::Weight::kStuck);
  }
}

}  // namespace millrace
