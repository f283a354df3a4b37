// ControlService: upgrade, by which a job goes on by other code, or with other settings, from its newest checkpoint.

#include <algorithm>
#include <memory>
#include <utility>

#include "common/model/hash.h"
#include "common/model/uri.h"
#include "master/renewal.h"

namespace millrace {
namespace {

api::UpgradePlan plan_of_changes(const std::vector<StateChange>& changes, const wire::JobSpec& spec,
                                 const std::vector<std::string>& agreed) {
  const std::vector<StatePlan> now = states_from(spec.plan.states);
  api::UpgradePlan plan;
  plan.version = spec.version;
  if (Status good = check_drops(changes, now, agreed); !good.has_value()) plan.problem = good.error().message;
  for (const StateChange& change : changes) {
    api::StateChange& said = plan.states.emplace_back();
    said.name = change.name;
    said.fate = to_string(change.fate);
    said.layout = change.is ? change.layout_is : change.layout_was;
    if (change.fate == StateFate::kMigrated) said.former_layout = change.layout_was;
    said.note = note_of(change, now);
  }
  return plan;
}

// From a checkpoint that says what it holds.
Result<api::UpgradePlan> upgrade_plan_of(const wire::Manifest& manifest, const wire::JobSpec& spec,
                                         const std::vector<std::string>& agreed) {
  const auto changes = changes_from(manifest, spec);
  if (!changes.has_value()) return std::unexpected(changes.error());
  return plan_of_changes(*changes, spec, agreed);
}

bool is_the_same(const wire::JobSpec& one, const wire::JobSpec& other) {
  return one.type == other.type && one.settings == other.settings && plan_from(one.plan) == plan_from(other.plan) &&
         one.library.empty() == other.library.empty() && one.library_hash == other.library_hash;
}

}  // namespace

// Everything that is not asked for stays as it is: the log and the offsets, the sink, the number of state partitions
// and how keys are spread over them, the intervals.
Result<wire::JobSpec> ControlService::upgraded_spec(const wire::JobRecord& record,
                                                    const api::UpgradeRequest& request) const {
  if (Status named = check_name("a job's type", request.type); !named.has_value()) {
    return std::unexpected(named.error());
  }
  if (request.from_version != record.spec.version) {
    return fail(ErrorCode::kInvalid, "the job is of version " + std::to_string(record.spec.version) +
                                         " by now, not of version " + std::to_string(request.from_version));
  }
  wire::JobSpec spec = record.spec;
  // A number that no other version of the job has had.
  spec.version = record.incarnation + 1;
  spec.type = request.type;
  spec.settings = request.settings;
  spec.library.clear();
  spec.library_hash = 0;
  if (!request.library.empty()) {
    const JobPlan plan = plan_from(request.plan);
    if (Status good = check_library(request.library, plan); !good.has_value()) return std::unexpected(good.error());
    const uint64_t hash = hash_of(request.library);
    const JobId id(static_cast<uint64_t>(record.job));
    spec.plan = plan_as<wire::JobPlan>(plan);
    spec.library = job_folder(spec.name, id) + "/job-" + to_hex(hash) + ".so";
    spec.library_hash = static_cast<int64_t>(hash);
  }
  const Result<JobPlan> plan = master_.plan_of_job(spec);
  if (!plan.has_value()) return std::unexpected(plan.error());
  spec.plan = plan_as<wire::JobPlan>(*plan);
  // What follows the checkpoint may have been appended, and comes again by other code.
  if (!record.spec.plan.outputs.empty()) {
    return fail(ErrorCode::kInvalid,
                "job '" + spec.name + "' appends to '" + record.spec.plan.outputs.front().name +
                    "', and such jobs cannot be upgraded yet; stop it, and submit another one with "
                    "other outputs");
  }
  for (const Status& good : {check_settings(spec), check_levels(spec), check_outputs(spec, *plan)}) {
    if (!good.has_value()) return std::unexpected(good.error());
  }
  if (plan->states.empty()) {
    return fail(ErrorCode::kInvalid, "its code does not say what it keeps; kill the job and submit it anew");
  }
  if (is_the_same(spec, record.spec)) {
    return fail(ErrorCode::kInvalid, "job '" + spec.name + "' is what it would become already, version " +
                                         std::to_string(record.spec.version));
  }
  return spec;
}

void ControlService::plan_upgrade(api::UpgradeRequest request, Done<api::UpgradePlan> done) {
  const Result<JobController*> job = find_idle(request.name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  const wire::JobRecord& record = (*job)->record();
  const Result<wire::JobSpec> spec = upgraded_spec(record, request);
  if (!spec.has_value()) return done(std::unexpected(spec.error()));
  // A running one takes a last checkpoint of what it keeps; any other one has what its newest checkpoint says.
  if (!is_at_rest(**job)) {
    wire::Manifest manifest;
    manifest.states = record.spec.plan.states;
    return done(upgrade_plan_of(manifest, *spec, request.drop));
  }
  if (record.checkpoints.empty()) {
    return done(plan_of_changes(changes_of_states({}, states_from(spec->plan.states)), *spec, {}));
  }
  const wire::CheckpointRef newest = record.checkpoints.back();
  auto read = [newest, spec = *spec, id = (*job)->id(), agreed = std::move(request.drop),
               done = std::move(done)](const Result<std::string>& bytes) mutable {
    if (!bytes.has_value()) return done(std::unexpected(bytes.error()));
    const Result<wire::Manifest> manifest = read_manifest(newest, *bytes, id);
    if (!manifest.has_value()) {
      return done(fail(manifest.error().code, newest.name + ": " + manifest.error().message));
    }
    done(upgrade_plan_of(*manifest, spec, agreed));
  };
  master_.deps().checkpoints.read(newest.name, lifetime_.guard(std::move(read)));
}

void ControlService::upgrade(api::UpgradeRequest request, Done<api::JobSummary> done) {
  const Result<JobController*> job = find_idle(request.name);
  if (!job.has_value()) return done(std::unexpected(job.error()));
  if (!is_at_rest(**job)) {
    return done(fail(ErrorCode::kInvalid, "job '" + request.name + "' is running; stop it before it is upgraded"));
  }
  const wire::JobRecord& record = (*job)->record();
  Result<wire::JobSpec> spec = upgraded_spec(record, request);
  if (!spec.has_value()) return done(std::unexpected(spec.error()));
  auto renewal = std::make_shared<Renewal>();
  renewal->before = renewal->after = record;
  renewal->after.spec = std::move(*spec);
  renewal->library = std::move(request.library);
  renewal->may_drop = std::move(request.drop);
  renewal->what = "become another version";
  renewal->done = std::move(done);
  busy_.insert(request.name);
  renewals_.insert(renewal);
  if (renewal->library.empty()) return begin_upgrade(renewal);
  remove_old_libraries(renewal);
}

// A library stays until the upgrade after the one by which the job has no more use for it: here nobody else stores one.
void ControlService::remove_old_libraries(const std::shared_ptr<Renewal>& renewal) {
  auto listed = [this, renewal](const Result<std::vector<std::string>>& names) {
    if (!names.has_value()) return refuse_renewal(renewal, names.error());
    const wire::JobRecord& record = renewal->before;
    std::vector<std::string> old;
    for (const std::string& name : *names) {
      const bool used = name == record.spec.library || name == renewal->after.spec.library ||
                        (record.__isset.former && name == record.former.spec.library);
      if (name.ends_with(".so") && !used) old.push_back(name);
    }
    if (old.empty()) return store_new_library(renewal);
    // What stays behind is found by the next upgrade.
    master_.deps().checkpoints.remove(std::move(old),
                                      lifetime_.guard([this, renewal](Result<bool>) { store_new_library(renewal); }));
  };
  master_.deps().checkpoints.list(job_folder(renewal->name(), renewal->id()), lifetime_.guard(std::move(listed)));
}

void ControlService::store_new_library(const std::shared_ptr<Renewal>& renewal) {
  auto created = [this, renewal](Result<bool> stored) {
    if (!stored.has_value()) return refuse_renewal(renewal, stored.error());
    if (*stored) return begin_upgrade(renewal);
    check_new_library(renewal);
  };
  master_.deps().checkpoints.create(renewal->after.spec.library, std::move(renewal->library),
                                    lifetime_.guard(std::move(created)));
}

// It is there already, by an upgrade that came to nothing, or from before a way back.
void ControlService::check_new_library(const std::shared_ptr<Renewal>& renewal) {
  const std::string& name = renewal->after.spec.library;
  master_.deps().checkpoints.read(name, lifetime_.guard([this, renewal](const Result<std::string>& bytes) {
    if (!bytes.has_value()) return refuse_renewal(renewal, bytes.error());
    if (static_cast<int64_t>(hash_of(*bytes)) == renewal->after.spec.library_hash) return begin_upgrade(renewal);
    refuse_renewal(renewal, {ErrorCode::kCorrupt, "its library " + renewal->after.spec.library +
                                                      " in the checkpoint store is damaged; remove it"});
  }));
}

void ControlService::begin_upgrade(const std::shared_ptr<Renewal>& renewal) {
  wire::JobRecord& after = renewal->after;
  if (after.checkpoints.empty()) {
    set_offsets(renewal->manifest, start_of(after.spec));
    return look_for_records(renewal);
  }
  // Those before it are none any more: the batches in between belong to the former code.
  after.checkpoints = {after.checkpoints.back()};
  renewal->checkpoint = after.checkpoints.back();
  read_checkpoint(renewal);
}

}  // namespace millrace
