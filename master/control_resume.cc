// ControlService: resume, where a job was or from a checkpoint.

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "common/base/check.h"
#include "master/control_service.h"

namespace millrace {
namespace {

bool is_at_rest(const JobController& job) {
  return job.phase() == JobController::Phase::kStopped || job.phase() == JobController::Phase::kFailed;
}

void set_running(wire::JobRecord& record) {
  record.state = wire::JobState::RUNNING;
  record.problem.clear();
}

std::string names_of(const std::vector<wire::CheckpointRef>& checkpoints) {
  std::string names;
  for (const wire::CheckpointRef& kept : checkpoints) names += (names.empty() ? "" : ", ") + std::to_string(kept.batch);
  return names;
}

// Why the records after a checkpoint cannot be read again from this log, or empty.
std::string missing_records(const LogDescription& log, const wire::JobSpec& spec, const std::vector<int64_t>& offsets) {
  if (!spec.topic_id.empty() && log.topic_id != spec.topic_id) return "the log was deleted and made anew";
  // Those that the checkpoint does not know are read from the beginning.
  for (size_t i = 0; i < std::max(offsets.size(), log.partitions.size()); ++i) {
    const std::string where = "log partition " + std::to_string(i);
    if (i >= log.partitions.size()) return where + " is gone";
    const auto& [id, begin, end, leader_epoch] = log.partitions[i];
    const int64_t next = i < offsets.size() ? offsets[i] : 0;
    if (next >= begin.value() && next <= end.value()) continue;
    return where + " has the offsets from " + std::to_string(begin.value()) + " to " + std::to_string(end.value()) +
           ", and the records after the checkpoint begin at " + std::to_string(next);
  }
  return "";
}

}  // namespace

// One job on its way back to a checkpoint.
struct ControlService::WayBack {
  wire::JobRecord before;
  wire::CheckpointRef checkpoint;
  wire::Manifest manifest;
  std::unique_ptr<Log> log;
  Done<api::JobSummary> done;

  [[nodiscard]] JobId id() const { return JobId(static_cast<uint64_t>(before.job)); }
};

void ControlService::resume(std::string name, Done<api::JobSummary> done) {
  const Result<JobController*> job = find_idle(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (!is_at_rest(**job)) return done(fail(ErrorCode::kInvalid, "job '" + name + "' is running already"));
  wire::JobRecord record = (*job)->record();
  set_running(record);
  busy_.insert(name);
  WriteSet set;
  JobStore::put_job(set, record);
  auto saved = [this, record, done = std::move(done)](Status status) mutable {
    busy_.erase(record.spec.name);
    if (!status.has_value()) return done(std::unexpected(status.error()));
    master_.drop_job(record.spec.name, false);
    go_on(std::move(record), std::move(done));
  };
  master_.store().commit(std::move(set), lifetime_.guard(std::move(saved)));
}

void ControlService::go_on(wire::JobRecord record, Done<api::JobSummary> done) {
  const std::string name = record.spec.name;
  if (Status adopted = master_.adopt_job(std::move(record), false); !adopted.has_value()) {
    return done(std::unexpected(adopted.error()));
  }
  auto resumed = [name, done = std::move(done)](Result<api::JobSummary> summary) mutable {
    if (summary.has_value() && summary->state == "failed") {
      return done(fail(ErrorCode::kInvalid, "job '" + name + "' cannot go on: " + summary->problem));
    }
    done(std::move(summary));
  };
  const int64_t id = master_.find_job(name)->record().job;
  answer_when_settled(name, id, master_.deps().clock.now() + kSettleLimit, std::move(resumed));
}

// --- from a checkpoint -------------------------------------------------------------------------------------------

// What is newer than the checkpoint is given up for good, so all that the job needs to go on is looked for before.
void ControlService::resume_from(std::string name, int64_t batch, Done<api::JobSummary> done) {
  const Result<JobController*> job = find_idle(name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (!is_at_rest(**job)) {
    return done(
        fail(ErrorCode::kInvalid, "job '" + name + "' is running; stop it before it goes back to a checkpoint"));
  }
  const wire::JobRecord& record = (*job)->record();
  const auto& kept = record.checkpoints;
  const auto found = std::ranges::find(kept, batch, &wire::CheckpointRef::batch);
  if (found == kept.end()) {
    return done(fail(ErrorCode::kNotFound, "job '" + name + "' has no checkpoint of batch " + std::to_string(batch) +
                                               (kept.empty() ? "; none is kept" : "; kept are " + names_of(kept))));
  }
  auto log = master_.deps().make_log(record.spec);
  if (!log.has_value()) return done(std::unexpected(log.error()));
  auto way = std::make_shared<WayBack>();
  way->before = record;
  way->checkpoint = *found;
  way->log = std::move(*log);
  way->done = std::move(done);
  busy_.insert(name);
  ways_back_.insert(way);
  read_checkpoint(way);
}

void ControlService::refuse_way_back(const std::shared_ptr<WayBack>& way, const Error& error) {
  const std::string& name = way->before.spec.name;
  busy_.erase(name);
  ways_back_.erase(way);
  way->done(fail(error.code, "job '" + name + "' stays as it is, and does not go back to the checkpoint of batch " +
                                 std::to_string(way->checkpoint.batch) + ": " + error.message));
}

void ControlService::read_checkpoint(const std::shared_ptr<WayBack>& held) {
  auto read = [this, way = held](const Result<std::string>& bytes) {
    if (!bytes.has_value()) return refuse_way_back(way, bytes.error());
    Result<wire::Manifest> manifest = read_manifest(way->checkpoint, *bytes, way->id());
    if (!manifest.has_value()) {
      return refuse_way_back(way, {manifest.error().code, way->checkpoint.name + ": " + manifest.error().message});
    }
    way->manifest = std::move(*manifest);
    look_for_files(way);
  };
  master_.deps().checkpoints.read(held->checkpoint.name, lifetime_.guard(std::move(read)));
}

void ControlService::look_for_files(const std::shared_ptr<WayBack>& held) {
  auto listed = [this, way = held](const Result<std::vector<std::string>>& names) {
    if (!names.has_value()) return refuse_way_back(way, names.error());
    const std::set<std::string> there(names->begin(), names->end());
    for (const wire::CheckpointFile& file : way->manifest.files) {
      if (file.name.empty() || there.contains(file.name)) continue;
      return refuse_way_back(way, {ErrorCode::kNotFound, "its file " + file.name + " is gone; restore it"});
    }
    look_for_records(way);
  };
  master_.deps().checkpoints.list(job_folder(held->before.spec.name, held->id()), lifetime_.guard(std::move(listed)));
}

void ControlService::look_for_records(const std::shared_ptr<WayBack>& held) {
  held->log->describe(lifetime_.guard([this, weak = std::weak_ptr(held)](Result<LogDescription> described) {
    const auto way = weak.lock();
    if (!described.has_value()) return refuse_way_back(way, described.error());
    const std::string missing = missing_records(*described, way->before.spec, way->manifest.offsets);
    if (!missing.empty()) return refuse_way_back(way, {ErrorCode::kInvalid, missing + "; take a newer checkpoint"});
    go_back(way);
  }));
}

// One commit: there is no moment at which the job is neither here nor there. Nobody else writes what is the job's
// meanwhile, since its controller is gone.
void ControlService::go_back(const std::shared_ptr<WayBack>& way) {
  wire::JobRecord record = way->before;
  ++record.incarnation;
  set_running(record);
  std::erase_if(record.checkpoints, [&](const auto& kept) { return kept.batch > way->checkpoint.batch; });
  WriteSet set;
  JobStore::put_job(set, record);
  const Status listed =
      master_.store().remove_beyond(set, way->id(), BatchId(way->checkpoint.batch), way->manifest.offsets);
  if (!listed.has_value()) return refuse_way_back(way, listed.error());
  const std::string name = record.spec.name;
  master_.drop_job(name, false);
  auto saved = [this, way, record = std::move(record)](Status status) mutable {
    const std::string job_name = record.spec.name;
    if (!status.has_value()) {
      if (Status kept = master_.adopt_job(way->before, false); !kept.has_value()) LOG(ERROR) << kept.error();
      return refuse_way_back(way, status.error());
    }
    busy_.erase(job_name);
    ways_back_.erase(way);
    LOG(INFO) << "job " << job_name << " goes back to the checkpoint of batch " << way->checkpoint.batch
              << ", as incarnation " << record.incarnation;
    go_on(std::move(record), std::move(way->done));
  };
  master_.store().commit(std::move(set), lifetime_.guard(std::move(saved)));
}

}  // namespace millrace
