#include "master/control_service.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/base/check.h"
#include "common/model/address.h"
#include "common/model/master_starting.h"
#include "common/model/source_topics.h"

namespace millrace {

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

Result<JobController*> ControlService::find_idle(const std::string& name) {
  Result<JobController*> job = find(name);
  if (job.has_value() && busy_.contains(name)) {
    return fail(ErrorCode::kUnavailable, "job '" + name + "' is being changed; try again");
  }
  return job;
}

// --- life of a job -----------------------------------------------------------------------------------------------

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

void ControlService::kill(std::string name, bool purge, Done<bool> done) {
  const Result<JobController*> job = find_idle(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  busy_.insert(name);
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
  master_.drop_job(name, true);
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

// --- what there is -----------------------------------------------------------------------------------------------

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

void ControlService::checkpoints(std::string name, Done<std::vector<api::Checkpoint>> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  std::vector<api::Checkpoint> kept;
  for (const wire::CheckpointRef& reference : kept_checkpoints((*job)->record())) {
    api::Checkpoint checkpoint;
    checkpoint.batch = reference.batch;
    checkpoint.incarnation = reference.incarnation;
    checkpoint.time_ms = reference.time_ms;
    checkpoint.size_bytes = reference.bytes;
    checkpoint.files = reference.files;
    checkpoint.version = reference.job_version;
    kept.push_back(checkpoint);
  }
  done(std::move(kept));
}

void ControlService::batches(std::string name, int32_t n, int64_t before, Done<api::BatchProfiles> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (n < 1 || n > static_cast<int32_t>(BatchProfiles::kKept)) {
    return done(fail(ErrorCode::kInvalid,
                     "n is " + std::to_string(n) + "; it must be 1 to " + std::to_string(BatchProfiles::kKept)));
  }
  if (before < 0) {
    return done(fail(ErrorCode::kInvalid, "before is " + std::to_string(before) + "; it must be at least 0"));
  }
  done((*job)->batches(static_cast<size_t>(n), BatchId(before)));
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

void ControlService::get(std::string name, std::vector<std::string> keys, int64_t at_least, std::string table,
                         Done<api::Values> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  (*job)->get(table, std::move(keys), BatchId(at_least), std::move(done));
}

void ControlService::top(std::string name, int32_t n, int64_t at_least, std::string table, Done<api::Values> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (n < 1 || n > 1000)
    return done(fail(ErrorCode::kInvalid, "top gives 1 to 1000 entries, not " + std::to_string(n)));
  (*job)->top(table, n, BatchId(at_least), std::move(done));
}

void ControlService::docs(api::DocsRequest request, Done<api::Docs> done) {
  const Result<JobController*> job = find(request.name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  (*job)->docs(request, std::move(done));
}

void ControlService::changes(api::ChangesRequest request, Done<api::Changes> done) {
  const Result<JobController*> job = find(request.name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  (*job)->changes(request, std::move(done));
}

void ControlService::search(api::SearchRequest request, Done<api::Page> done) {
  const Result<JobController*> job = find(request.name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (request.limit < 1 || request.limit > 1000) {
    return done(fail(ErrorCode::kInvalid, "a page has 1 to 1000 keys, not " + std::to_string(request.limit)));
  }
  (*job)->search(request, std::move(done));
}

void ControlService::totals(std::string name, std::string table, Done<api::Totals> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  (*job)->totals(table, std::move(done));
}

void ControlService::dead_letters(std::string name, int32_t limit, int32_t from_partition, int64_t from_offset,
                                  std::string from_topic, Done<api::DeadLetters> done) {
  const Result<JobController*> job = find(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (limit < 1 || limit > 10'000) return done(fail(ErrorCode::kInvalid, "a page has 1 to 10000 dead letters"));
  const SourceTopics& topics = (*job)->topics();
  const auto& names = topics.names();
  const auto topic = from_topic.empty() ? names.begin() : std::ranges::find(names, from_topic);
  if (topic == names.end() && !from_topic.empty()) {
    return done(fail(ErrorCode::kInvalid,
                     "job '" + name + "' reads no topic '" + from_topic + "', only " + (*job)->describe().source));
  }
  const LogPartition from = log_partition(static_cast<size_t>(topic - names.begin()),
                                          std::clamp(from_partition, 0, kMostTopicPartitions - 1));
  const auto letters = master_.store().read_letters((*job)->id(), from, Offset(std::max<int64_t>(0, from_offset)),
                                                    static_cast<size_t>(limit));
  if (!letters.has_value()) return done(std::unexpected(letters.error()));
  api::DeadLetters answer;
  answer.total = (*job)->summary().dead_letters;
  for (const wire::DeadLetter& letter : *letters) {
    api::DeadLetter entry;
    entry.topic = topics.name_of(LogPartition(letter.partition));
    entry.partition = topic_partition(LogPartition(letter.partition));
    entry.offset = letter.offset;
    entry.reason = letter.reason;
    entry.timestamp_ms = letter.timestamp_ms;
    answer.letters.push_back(std::move(entry));
  }
  done(std::move(answer));
}

}  // namespace millrace
