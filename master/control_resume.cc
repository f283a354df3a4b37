// ControlService: resume, where a job was or from a checkpoint; and how a job becomes a new incarnation.

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "common/base/check.h"
#include "common/model/source_topics.h"
#include "common/model/state_changes.h"
#include "master/renewal.h"

namespace millrace {
namespace {

constexpr Duration kCommitPause = std::chrono::milliseconds(200);

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
std::string missing_records(const LogDescription& log, const wire::JobSpec& spec, const LogOffsets& offsets) {
  if (is_another_topic(spec.topic_id, log.topic_id)) return "the log was deleted and made anew";
  const SourceTopics topics = SourceTopics::of(spec.source);
  LogOffsets wanted = offsets;
  for (const auto& [id, begin, end, leader_epoch] : log.partitions) {
    // Those that the checkpoint does not know are read from the beginning.
    const auto known = wanted.extract(id);
    const Offset next = known.empty() ? Offset(0) : known.mapped();
    if (next >= begin && next <= end) continue;
    return topics.place(id) + " has the offsets from " + std::to_string(begin.value()) + " to " +
           std::to_string(end.value()) + ", and the records after the checkpoint begin at " +
           std::to_string(next.value());
  }
  return wanted.empty() ? "" : topics.place(wanted.begin()->first) + " is gone";
}

}  // namespace

std::vector<wire::CheckpointRef> kept_checkpoints(const wire::JobRecord& record) {
  std::vector<wire::CheckpointRef> kept = record.checkpoints;
  if (!record.__isset.former) return kept;
  const wire::CheckpointRef& former = record.former.checkpoint;
  if (std::ranges::find(kept, former) == kept.end()) kept.insert(kept.begin(), former);
  return kept;
}

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
    const std::string job_name = record.spec.name;
    const api::JobSummary before = master_.find_job(job_name)->summary();
    master_.drop_job(job_name, false);
    go_on(std::move(record), std::move(done));
    master_.find_job(job_name)->show_at_first(before);
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
  const std::vector<wire::CheckpointRef> kept = kept_checkpoints(record);
  const auto found = std::ranges::find(kept, batch, &wire::CheckpointRef::batch);
  // Batch ids occur again then, and who has read what was appended would read it twice. A former version may append
  // nothing.
  const bool is_former = found != kept.end() && found->job_version != record.spec.version;
  if (const auto& outputs = (is_former ? record.former.spec : record.spec).plan.outputs; !outputs.empty()) {
    return done(fail(ErrorCode::kInvalid, "job '" + name + "' appends to '" + outputs.front().name +
                                              "', where nothing can be taken back, so it does not go back to a "
                                              "checkpoint; submit it under another name, with another --output"));
  }
  if (found == kept.end()) {
    return done(fail(ErrorCode::kNotFound, "job '" + name + "' has no checkpoint of batch " + std::to_string(batch) +
                                               (kept.empty() ? "; none is kept" : "; kept are " + names_of(kept))));
  }
  auto renewal = std::make_shared<Renewal>();
  renewal->before = renewal->after = record;
  renewal->checkpoint = *found;
  renewal->what = "go back to the checkpoint of batch " + std::to_string(batch);
  renewal->done = std::move(done);
  wire::JobRecord& after = renewal->after;
  std::erase_if(after.checkpoints, [batch](const auto& checkpoint) { return checkpoint.batch > batch; });
  if (is_former) {
    // What that version has left is all of it that there is.
    after.spec = record.former.spec;
    after.checkpoints = {*found};
    after.former = {};
    after.__isset.former = false;
  }
  busy_.insert(name);
  renewals_.insert(renewal);
  read_checkpoint(renewal);
}

void ControlService::refuse_renewal(const std::shared_ptr<Renewal>& renewal, const Error& error) {
  busy_.erase(renewal->name());
  renewals_.erase(renewal);
  renewal->done(fail(error.code, "job '" + renewal->name() + "' stays as it is, and does not " + renewal->what + ": " +
                                     error.message));
}

// What a program must be able to make of a spec, or the job could not be run by it.
Status ControlService::check_parts(const wire::JobSpec& spec) const {
  if (const auto plan = master_.plan_of_job(spec); !plan.has_value()) return std::unexpected(plan.error());
  if (const auto sink = master_.deps().make_sink(spec); !sink.has_value()) return std::unexpected(sink.error());
  return {};
}

Result<std::vector<StateChange>> changes_from(const wire::Manifest& manifest, const wire::JobSpec& spec) {
  if (manifest.states.empty() && !spec.plan.states.empty()) {
    return fail(ErrorCode::kInvalid,
                "the checkpoint was written by an older program, and does not say which states it has; resume the job, "
                "and let it take another one");
  }
  auto changes = changes_of_states(states_from(manifest.states), states_from(spec.plan.states));
  if (Status possible = check_states(changes); !possible.has_value()) return std::unexpected(possible.error());
  return changes;
}

void ControlService::read_checkpoint(const std::shared_ptr<Renewal>& held) {
  auto read = [this, renewal = held](const Result<std::string>& bytes) {
    if (!bytes.has_value()) return refuse_renewal(renewal, bytes.error());
    const wire::CheckpointRef& reference = *renewal->checkpoint;
    Result<wire::Manifest> manifest = read_manifest(reference, *bytes, renewal->id());
    if (!manifest.has_value()) {
      return refuse_renewal(renewal, {manifest.error().code, reference.name + ": " + manifest.error().message});
    }
    renewal->manifest = std::move(*manifest);
    const auto changes = changes_from(renewal->manifest, renewal->after.spec);
    if (!changes.has_value()) return refuse_renewal(renewal, changes.error());
    const auto now = states_from(renewal->after.spec.plan.states);
    if (Status good = check_drops(*changes, now, renewal->may_drop); !good.has_value()) {
      return refuse_renewal(renewal, good.error());
    }
    note_former_version(renewal);
    look_for_files(renewal);
  };
  master_.deps().checkpoints.read(held->checkpoint->name, lifetime_.guard(std::move(read)));
}

// Which the job can go back to. A version that has no checkpoint of its own leaves nothing.
void ControlService::note_former_version(const std::shared_ptr<Renewal>& renewal) {
  const wire::JobSpec& spec = renewal->before.spec;
  wire::JobRecord& after = renewal->after;
  if (after.spec.version <= spec.version || renewal->manifest.job_version != spec.version) return;
  after.former.spec = spec;
  after.former.checkpoint = *renewal->checkpoint;
  after.former.files.clear();
  for (const wire::CheckpointFile& file : renewal->manifest.files) after.former.files.push_back(file.name);
  after.__isset.former = true;
}

void ControlService::look_for_files(const std::shared_ptr<Renewal>& held) {
  auto listed = [this, renewal = held](const Result<std::vector<std::string>>& names) {
    if (!names.has_value()) return refuse_renewal(renewal, names.error());
    const std::set<std::string> there(names->begin(), names->end());
    std::vector<std::string> needed;
    for (const wire::CheckpointFile& file : renewal->manifest.files) needed.push_back(file.name);
    needed.push_back(renewal->after.spec.library);
    for (const std::string& file : needed) {
      if (file.empty() || there.contains(file)) continue;
      return refuse_renewal(renewal, {ErrorCode::kNotFound, "its file " + file + " is gone; restore it"});
    }
    look_for_records(renewal);
  };
  master_.deps().checkpoints.list(job_folder(held->name(), held->id()), lifetime_.guard(std::move(listed)));
}

void ControlService::look_for_records(const std::shared_ptr<Renewal>& held) {
  if (Status possible = check_parts(held->after.spec); !possible.has_value()) {
    return refuse_renewal(held, possible.error());
  }
  auto log = master_.deps().make_log(held->after.spec);
  if (!log.has_value()) return refuse_renewal(held, log.error());
  held->log = std::move(*log);
  held->log->describe(lifetime_.guard([this, weak = std::weak_ptr(held)](Result<LogDescription> described) {
    const auto renewal = weak.lock();
    if (!described.has_value()) return refuse_renewal(renewal, described.error());
    const std::string missing = missing_records(*described, renewal->before.spec, offsets_of(renewal->manifest));
    if (!missing.empty()) return refuse_renewal(renewal, {ErrorCode::kInvalid, missing + "; take a newer checkpoint"});
    renew(renewal);
  }));
}

// One commit: there is no moment at which the job is neither here nor there. Nobody else writes what is the job's
// meanwhile, since its controller is gone.
void ControlService::renew(const std::shared_ptr<Renewal>& renewal) {
  wire::JobRecord& after = renewal->after;
  ++after.incarnation;
  set_running(after);
  WriteSet set;
  JobStore::put_job(set, after);
  const BatchId begin(renewal->checkpoint ? renewal->checkpoint->batch : 0);
  const Status listed = master_.store().remove_beyond(set, renewal->id(), begin, offsets_of(renewal->manifest));
  if (!listed.has_value()) return refuse_renewal(renewal, listed.error());
  master_.drop_job(renewal->name(), false);
  commit_renewal(renewal, set);
}

// A commit that failed may be durable all the same, and what it removes cannot be put back: so it is tried until there
// is no doubt. A master that dies leaves either one to the next.
void ControlService::commit_renewal(const std::shared_ptr<Renewal>& renewal, const WriteSet& set) {
  auto saved = [this, renewal, set](Status status) {
    master_.drop_job(renewal->name(), false);
    if (!status.has_value()) {
      // It is at rest, and so writes nothing; but people see it.
      wire::JobRecord shown = renewal->before;
      shown.problem = "it waits for the master's disk to " + renewal->what + ": " + status.error().message;
      if (Status kept = master_.adopt_job(std::move(shown), false); !kept.has_value()) LOG(ERROR) << kept.error();
      master_.deps().loop.schedule(kCommitPause,
                                   lifetime_.guard([this, renewal, set] { commit_renewal(renewal, set); }));
      return;
    }
    busy_.erase(renewal->name());
    renewals_.erase(renewal);
    LOG(INFO) << "job " << renewal->name() << " goes on from batch "
              << (renewal->checkpoint ? renewal->checkpoint->batch : 0) << " as incarnation "
              << renewal->after.incarnation << ", version " << renewal->after.spec.version;
    go_on(std::move(renewal->after), std::move(renewal->done));
  };
  master_.store().commit(set, lifetime_.guard(std::move(saved)));
}

}  // namespace millrace
