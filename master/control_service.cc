#include "master/control_service.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/base/check.h"
#include "common/model/address.h"
#include "common/model/master_starting.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

constexpr Duration kDescribePause = std::chrono::milliseconds(200);
constexpr Duration kDescribeLimit = std::chrono::seconds(3);  // no new try after that: somebody waits
// Of the URIs and all settings of a job together: they are in its record and in each message that starts an executor.
constexpr size_t kMaxTextBytes = 64 << 10;
constexpr int kClaimTries = 4;
constexpr Duration kClaimPause = std::chrono::milliseconds(200);
constexpr Duration kClaimLimit = std::chrono::milliseconds(1000);  // no new try after that: somebody waits
constexpr Duration kSettlePause = std::chrono::milliseconds(20);
constexpr Duration kSettleLimit = std::chrono::seconds(2);
constexpr int kReleaseTries = 60;
constexpr Duration kReleasePause = std::chrono::milliseconds(1000);

}  // namespace

// One submit under way.
struct ControlService::Submission {
  wire::JobRecord record;
  std::string start;
  std::unique_ptr<Log> log;
  std::unique_ptr<Sink> sink;
  SinkLayout layout;
  MonotonicTime described_first;
  int tries = 0;  // of claiming the sink, and of releasing it
  MonotonicTime claimed_first;
  Done<api::JobSummary> done;

  [[nodiscard]] SinkIdentity sink_identity() const {
    return {record.spec.name, JobId(static_cast<uint64_t>(record.job)), Incarnation(record.incarnation), layout};
  }
};

namespace {

Status check_source(const Uri& source) {
  if (source.scheme == "log") {
    if (source.path.empty()) return check_name("--source: an embedded log's name", source.authority);
    return fail(ErrorCode::kInvalid, "--source: an embedded log has no path; expected log://NAME");
  }
  if (source.path.empty()) {
    return fail(ErrorCode::kInvalid, "--source: no topic; expected kafka://HOST:PORT/TOPIC");
  }
  for (size_t begin = 0; begin <= source.authority.size();) {
    const size_t end = std::min(source.authority.find(',', begin), source.authority.size());
    const auto broker = parse_address("--source: the broker", source.authority.substr(begin, end - begin));
    if (!broker.has_value()) return std::unexpected(broker.error());
    begin = end + 1;
  }
  return {};
}

Status check_settings(const api::SubmitRequest& request) {
  size_t bytes = request.source.size() + request.sink.size();
  for (const auto* settings : {&request.settings, &request.source_config, &request.sink_config}) {
    if (settings->contains("")) return fail(ErrorCode::kInvalid, "a setting has no name; expected KEY=VALUE");
    for (const auto& [key, value] : *settings) bytes += key.size() + value.size();
  }
  if (bytes <= kMaxTextBytes) return {};
  return fail(ErrorCode::kInvalid, "--source, --sink and all settings are " + std::to_string(bytes) +
                                       " bytes; together they may be " + std::to_string(kMaxTextBytes));
}

}  // namespace

Result<wire::JobSpec> make_spec(const api::SubmitRequest& request) {
  if (Status named = check_name("a job's name", request.name); !named.has_value()) {
    return std::unexpected(named.error());
  }
  if (Status named = check_name("a job's type", request.type); !named.has_value()) {
    return std::unexpected(named.error());
  }
  if (Status small = check_settings(request); !small.has_value()) return std::unexpected(small.error());
  const auto invalid = [](const std::string& message) { return fail(ErrorCode::kInvalid, message); };
  const Result<Uri> source = parse_uri(request.source);
  if (!source.has_value()) return invalid("--source: " + source.error().message);
  if (source->scheme != "kafka" && source->scheme != "log") {
    return invalid("--source: '" + source->scheme +
                   "' is no kind of source; expected kafka://HOST:PORT/TOPIC or log://NAME");
  }
  if (Status good = check_source(*source); !good.has_value()) return std::unexpected(good.error());
  const Result<Uri> sink = parse_uri(request.sink);
  if (!sink.has_value()) return invalid("--sink: " + sink.error().message);
  if (sink->scheme != "redis" && sink->scheme != "none") {
    return invalid("--sink: '" + sink->scheme + "' is no kind of sink; expected redis://HOST:PORT or none:");
  }
  if (request.batch_interval_ms < 1 || request.batch_interval_ms > 600'000) {
    return invalid("--batch-interval must be from 1ms to 10m");
  }
  if (request.checkpoint_interval_ms < request.batch_interval_ms || request.checkpoint_interval_ms > 86'400'000) {
    return invalid("--checkpoint-interval must be from the batch interval to 24h");
  }
  if (request.start != "earliest" && request.start != "latest") {
    return invalid("--start must be earliest or latest, not '" + request.start.substr(0, 40) + "'");
  }
  if (request.state_partitions < 1 || request.state_partitions > 4096) {
    return invalid("--state-partitions must be from 1 to 4096");
  }
  if (request.max_record_bytes < 1 || request.max_record_bytes > (1LL << 30)) {
    return invalid("--max-record-bytes must be from 1 to 1 GiB");
  }
  wire::JobSpec spec;
  spec.name = request.name;
  spec.type = request.type;
  spec.source = request.source;
  spec.sink = request.sink;
  spec.settings = request.settings;
  spec.source_config = request.source_config;
  spec.sink_config = request.sink_config;
  spec.batch_interval_us = request.batch_interval_ms * 1000;
  spec.checkpoint_interval_us = request.checkpoint_interval_ms * 1000;
  spec.state_partitions = request.state_partitions;
  spec.partition_hash = 1;
  spec.max_record_bytes = request.max_record_bytes;
  spec.fail_on_bad_record = request.fail_on_bad_record;
  spec.lane_memory_bytes = 64 << 20;
  spec.take_over = request.take_over;
  spec.max_batch_records = 2'000'000;
  return spec;
}

Status ControlService::started() const {
  if (master_.started()) return {};
  return fail(ErrorCode::kUnavailable, kMasterIsStarting);
}

Result<JobController*> ControlService::find(const std::string& name) {
  if (Status ready = started(); !ready.has_value()) return std::unexpected(ready.error());
  JobController* job = master_.find_job(name);
  if (job != nullptr) return job;
  return fail(ErrorCode::kNotFound, "there is no job '" + name + "'; 'millrace jobs' lists them");
}

// --- submit
// --------------------------------------------------------------------------------------------------------------

void ControlService::submit(api::SubmitRequest request, Done<api::JobSummary> done) {
  Result<wire::JobSpec> spec = make_spec(request);
  if (!spec.has_value()) return done(std::unexpected(spec.error()));
  if (Status ready = started(); !ready.has_value()) return done(std::unexpected(ready.error()));
  if (master_.find_job(request.name) != nullptr || busy_.contains(request.name)) {
    return done(
        fail(ErrorCode::kExists, "there is a job '" + request.name + "' already; kill it first or take another name"));
  }
  auto job = master_.deps().make_job(spec->type, context_of(*spec));
  if (!job.has_value()) return done(fail(ErrorCode::kInvalid, job.error().message));
  auto log = master_.deps().make_log(*spec);
  if (!log.has_value()) return done(std::unexpected(log.error()));
  auto sink = master_.deps().make_sink(*spec);
  if (!sink.has_value()) return done(std::unexpected(sink.error()));

  auto submission = std::make_shared<Submission>();
  submission->record.job = static_cast<int64_t>(master_.deps().random.next_id());
  submission->record.incarnation = 1;
  submission->record.state = wire::JobState::RUNNING;
  submission->record.created_ms = master_.deps().clock.wall_now().unix_ms;
  submission->record.spec = std::move(*spec);
  submission->start = request.start;
  submission->log = std::move(*log);
  submission->sink = std::move(*sink);
  submission->layout = (*job)->layout();
  submission->done = std::move(done);
  submission->described_first = master_.deps().clock.now();
  busy_.insert(request.name);
  submissions_.insert(submission);
  describe_log(submission);
}

void ControlService::describe_log(const std::shared_ptr<Submission>& held) {
  held->log->describe(lifetime_.guard([this, weak = std::weak_ptr(held)](Result<LogDescription> described) {
    const auto submission = weak.lock();
    // A log that was just made may not be there in all its parts.
    const bool passing = !described.has_value() && described.error().code == ErrorCode::kUnavailable;
    if (passing && master_.deps().clock.now() - submission->described_first < kDescribeLimit) {
      master_.deps().loop.schedule(kDescribePause, lifetime_.guard([this, submission] { describe_log(submission); }));
      return;
    }
    if (!described.has_value()) return finish_submission(submission, std::unexpected(described.error()));
    if (!described->unfit.empty()) return finish_submission(submission, fail(ErrorCode::kInvalid, described->unfit));
    if (described->partitions.empty()) {
      return finish_submission(submission, fail(ErrorCode::kNotFound, "the source has no partitions"));
    }
    wire::JobSpec& spec = submission->record.spec;
    spec.topic_id = described->topic_id;
    for (const LogDescription::Partition& partition : described->partitions) {
      spec.start_offsets.push_back((submission->start == "latest" ? partition.end : partition.begin).value());
    }
    submission->claimed_first = master_.deps().clock.now();
    claim_sink(submission);
  }));
}

void ControlService::claim_sink(const std::shared_ptr<Submission>& held) {
  auto claimed = [this, weak = std::weak_ptr(held)](Status status) {
    const auto submission = weak.lock();
    // The answer of a claim that was carried out may be lost, and only the same job id can claim again.
    const bool unclear = !status.has_value() && status.error().code == ErrorCode::kUnavailable;
    const bool in_time = master_.deps().clock.now() - submission->claimed_first < kClaimLimit;
    if (unclear && in_time && ++submission->tries < kClaimTries) {
      master_.deps().loop.schedule(kClaimPause, lifetime_.guard([this, submission] { claim_sink(submission); }));
      return;
    }
    if (status.has_value()) return save_job(submission);
    finish_submission(submission, std::move(status));
    if (unclear) release_sink(submission);
  };
  held->sink->claim(held->sink_identity(), held->record.spec.take_over, lifetime_.guard(std::move(claimed)));
}

void ControlService::release_sink(const std::shared_ptr<Submission>& held) {
  submissions_.insert(held);
  auto released = [this, weak = std::weak_ptr(held)](Status status) {
    const auto submission = weak.lock();
    if (status.has_value() || ++submission->tries >= kReleaseTries) {
      submissions_.erase(submission);
      return;
    }
    master_.deps().loop.schedule(kReleasePause, lifetime_.guard([this, submission] { release_sink(submission); }));
  };
  held->sink->purge(held->sink_identity(), lifetime_.guard(std::move(released)));
}

void ControlService::save_job(const std::shared_ptr<Submission>& submission) {
  WriteSet set;
  JobStore::put_job(set, submission->record);
  master_.store().commit(std::move(set), lifetime_.guard([this, submission](Status status) {
    if (status.has_value()) status = master_.adopt_job(submission->record, false);
    const bool saved = status.has_value();
    finish_submission(submission, std::move(status));
    if (!saved) release_sink(submission);
  }));
}

void ControlService::finish_submission(const std::shared_ptr<Submission>& submission, Status status) {
  const std::string name = submission->record.spec.name;
  busy_.erase(name);
  submissions_.erase(submission);
  if (!status.has_value()) return submission->done(std::unexpected(status.error()));
  LOG(INFO) << "job " << name << " (" << to_string(JobId(static_cast<uint64_t>(submission->record.job)))
            << ") is submitted";
  answer_when_settled(name, submission->record.job, master_.deps().clock.now() + kSettleLimit,
                      std::move(submission->done));
}

// What became of it says more than that it is there; but a cluster that takes long is no reason to wait long.
void ControlService::answer_when_settled(const std::string& name, int64_t id, MonotonicTime deadline,
                                         Done<api::JobSummary> done) {
  JobController* job = master_.find_job(name);
  if (job == nullptr || job->record().job != id) {
    return done(fail(ErrorCode::kNotFound, "job '" + name + "' was killed meanwhile"));
  }
  if (job->is_settled() || master_.deps().clock.now() >= deadline) return done(job->summary());
  auto again = [this, name, id, deadline, done = std::move(done)]() mutable {
    answer_when_settled(name, id, deadline, std::move(done));
  };
  master_.deps().loop.schedule(kSettlePause, lifetime_.guard(std::move(again)));
}

// --- life of a job
// -------------------------------------------------------------------------------------------------------

void ControlService::jobs(Done<std::vector<api::JobSummary>> done) {
  if (Status ready = started(); !ready.has_value()) return done(std::unexpected(ready.error()));
  std::vector<api::JobSummary> summaries;
  for (const JobController* job : master_.all_jobs()) summaries.push_back(job->summary());
  done(std::move(summaries));
}

void ControlService::describe(std::string name, Done<api::JobDescription> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  api::JobDescription description = (*job)->describe();
  if (description.summary.problem.empty() && master_.workers().empty() && (*job)->needs_executors()) {
    description.summary.problem = "no worker is there; start millrace-worker";
  }
  done(std::move(description));
}

void ControlService::stop(std::string name, Done<api::JobSummary> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  (*job)->stop(lifetime_.guard([this, name, done = std::move(done)](Status status) mutable {
    JobController* stopped = master_.find_job(name);
    if (!status.has_value()) return done(std::unexpected(status.error()));
    if (stopped == nullptr) return done(fail(ErrorCode::kNotFound, "job '" + name + "' was killed meanwhile"));
    done(stopped->summary());
  }));
}

void ControlService::resume(std::string name, Done<api::JobSummary> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (busy_.contains(name))
    return done(fail(ErrorCode::kUnavailable, "job '" + name + "' is being changed; try again"));
  if ((*job)->phase() != JobController::Phase::kStopped && (*job)->phase() != JobController::Phase::kFailed) {
    return done(fail(ErrorCode::kInvalid, "job '" + name + "' is running already"));
  }
  wire::JobRecord record = (*job)->record();
  record.state = wire::JobState::RUNNING;
  record.problem.clear();
  busy_.insert(name);
  WriteSet set;
  JobStore::put_job(set, record);
  auto saved = [this, record, done = std::move(done)](Status status) mutable {
    const std::string job_name = record.spec.name;
    busy_.erase(job_name);
    if (status.has_value()) {
      master_.drop_job(job_name);
      status = master_.adopt_job(std::move(record), false);
    }
    if (!status.has_value()) return done(std::unexpected(status.error()));
    auto resumed = [job_name, done = std::move(done)](Result<api::JobSummary> summary) mutable {
      if (summary.has_value() && summary->state == "failed") {
        return done(fail(ErrorCode::kInvalid, "job '" + job_name + "' cannot go on: " + summary->problem));
      }
      done(std::move(summary));
    };
    const int64_t id = master_.find_job(job_name)->record().job;
    answer_when_settled(job_name, id, master_.deps().clock.now() + kSettleLimit, std::move(resumed));
  };
  master_.store().commit(std::move(set), lifetime_.guard(std::move(saved)));
}

void ControlService::kill(std::string name, bool purge, Done<bool> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (!busy_.insert(name).second) {
    return done(fail(ErrorCode::kUnavailable, "job '" + name + "' is being changed; try again"));
  }
  if (!purge) return forget_job(name, std::move(done));
  // Nobody may publish any more when the keys go; those that still try are refused, because no job id is there.
  master_.release_all_executors((*job)->id(), "the job is being killed");
  auto purged = [this, name, done = std::move(done)](Status status) mutable {
    if (status.has_value()) return forget_job(name, std::move(done));
    busy_.erase(name);
    done(fail(status.error().code,
              status.error().message + "; job '" + name + "' is still there: kill it again later, or without --purge"));
  };
  (*job)->purge_sink(lifetime_.guard(std::move(purged)));
}

void ControlService::forget_job(const std::string& name, Done<bool> done) {
  JobController* job = master_.find_job(name);
  CHECK(job != nullptr);
  const JobId id = job->id();
  WriteSet set;
  if (Status listed = master_.store().remove_all(set, id); !listed.has_value()) {
    busy_.erase(name);
    return done(std::unexpected(listed.error()));
  }
  JobStore::remove_job(set, name);
  JobStore::put_killed(set, id, name);
  wire::JobRecord record = job->record();
  master_.drop_job(name);
  auto removed = [this, id, record = std::move(record), done = std::move(done)](Status status) mutable {
    const std::string killed = record.spec.name;
    busy_.erase(killed);
    if (!status.has_value()) {
      // The registry has it still: it goes on.
      if (Status kept = master_.adopt_job(std::move(record), false); !kept.has_value()) LOG(ERROR) << kept.error();
      return done(std::unexpected(status.error()));
    }
    LOG(INFO) << "job " << killed << " is killed";
    master_.clear_away(id, killed);
    done(true);
  };
  master_.store().commit(std::move(set), lifetime_.guard(std::move(removed)));
}

// --- what there is
// -------------------------------------------------------------------------------------------------------

void ControlService::job_types(Done<std::vector<api::JobType>> done) {
  std::vector<api::JobType> types;
  for (const JobType& known : master_.deps().job_types) {
    api::JobType type;
    type.name = known.name;
    type.description = known.description;
    for (const JobSetting& setting : known.settings) {
      api::JobTypeSetting said;
      said.name = setting.name;
      said.default_value = setting.default_value;
      said.description = setting.description;
      type.settings.push_back(std::move(said));
    }
    types.push_back(std::move(type));
  }
  done(std::move(types));
}

void ControlService::workers(Done<std::vector<api::WorkerSummary>> done) {
  if (Status ready = started(); !ready.has_value()) return done(std::unexpected(ready.error()));
  std::vector<api::WorkerSummary> summaries;
  for (const auto& [process, worker] : master_.workers()) {
    api::WorkerSummary summary;
    summary.process = to_string(process);
    summary.name = worker.name;
    summary.endpoint = worker.peer.endpoint.address;
    summary.lanes = worker.lanes;
    summary.state = worker.draining ? "draining" : "ready";
    summary.http = worker.http;
    summary.problem = master_.worker_trouble(process);
    for (const auto& [id, executor] : master_.executors()) {
      if (executor.worker != process) continue;
      for (const JobController* job : master_.all_jobs()) {
        if (job->id() == executor.job) summary.jobs.push_back(job->record().spec.name);
      }
    }
    summaries.push_back(std::move(summary));
  }
  done(std::move(summaries));
}

void ControlService::lag(std::string name, Done<api::Lag> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  (*job)->lag(std::move(done));
}

void ControlService::get(std::string name, std::vector<std::string> keys, int64_t at_least, Done<api::Values> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  (*job)->get(std::move(keys), BatchId(at_least), std::move(done));
}

void ControlService::top(std::string name, int32_t n, int64_t at_least, Done<api::Values> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (n < 1 || n > 1000)
    return done(fail(ErrorCode::kInvalid, "top gives 1 to 1000 entries, not " + std::to_string(n)));
  (*job)->top(n, BatchId(at_least), std::move(done));
}

void ControlService::dead_letters(std::string name, int32_t limit, int32_t from_partition, int64_t from_offset,
                                  Done<api::DeadLetters> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (limit < 1 || limit > 10'000) return done(fail(ErrorCode::kInvalid, "a page has 1 to 10000 dead letters"));
  const auto letters =
      master_.store().read_letters((*job)->id(), LogPartition(std::max(0, from_partition)),
                                   Offset(std::max<int64_t>(0, from_offset)), static_cast<size_t>(limit));
  if (!letters.has_value()) return done(std::unexpected(letters.error()));
  const Result<Uri> source = parse_uri((*job)->record().spec.source);
  api::DeadLetters answer;
  answer.total = (*job)->summary().dead_letters;
  for (const wire::DeadLetter& letter : *letters) {
    api::DeadLetter entry;
    entry.topic = source.has_value() ? (source->path.empty() ? source->authority : source->path) : "";
    entry.partition = letter.partition;
    entry.offset = letter.offset;
    entry.reason = letter.reason;
    entry.timestamp_ms = letter.timestamp_ms;
    answer.letters.push_back(std::move(entry));
  }
  done(std::move(answer));
}

}  // namespace millrace
