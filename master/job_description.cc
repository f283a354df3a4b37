// JobController: what people and programs are shown.

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/model/uri.h"
#include "master/job_controller.h"

namespace millrace {
namespace {

const char* name_of(JobController::Phase phase) {
  switch (phase) {
    case JobController::Phase::kLoading: return "loading";
    case JobController::Phase::kRunning: return "running";
    case JobController::Phase::kStopping: return "stopping";
    case JobController::Phase::kStopped: return "stopped";
    case JobController::Phase::kFailed: return "failed";
  }
  return "unknown";
}

std::string masked(const std::string& uri) {
  const Result<Uri> parsed = parse_uri(uri);
  return parsed.has_value() ? parsed->masked() : "(unreadable)";
}

}  // namespace

api::AsOf JobController::as_of(BatchId batch) const {
  api::AsOf as_of;
  as_of.job_id = to_string(job_);
  as_of.incarnation = record_.incarnation;
  as_of.epoch = epoch_.value();
  as_of.batch = batch.value();
  return as_of;
}

api::JobSummary JobController::summary() const {
  api::JobSummary summary;
  summary.name = record_.spec.name;
  summary.type = record_.spec.type;
  summary.state = name_of(phase_);
  // Right after a restart: what was durable then, because no answer will be of a batch before it.
  summary.applied = as_of(answers_ ? applied_ : restart_floor_);
  summary.published = (needs_executors() ? published_ : std::max(published_, last_published_)).value();
  summary.changed = std::min(last_changed_.value(), summary.applied.batch);
  summary.problem = record_.problem;
  if (ledger_ == nullptr || (!needs_executors() && !answers_)) {
    summary.applied = as_of(BatchId(last_known_.batch));
    summary.changed = last_known_.batch;
    summary.records = last_known_.records;
    summary.emitted = last_known_.emitted;
    summary.dead_letters = last_known_.dead_letters;
    summary.late = last_known_.late;
    summary.watermark_ms = last_known_.watermark_ms;
    if (summary.problem.empty()) summary.problem = store_trouble_;
    return summary;
  }
  // As of the applied batch: what is mapped may be ahead of what is counted.
  const wire::BatchTotals* totals = answers_ ? ledger_->totals_at(applied_) : nullptr;
  if (totals == nullptr) totals = &ledger_->totals();
  summary.records = totals->records;
  summary.emitted = totals->emitted;
  summary.dead_letters = totals->dead_letters;
  summary.late = totals->late;
  summary.watermark_ms = totals->watermark_ms;
  // What is cut may be ahead of what is applied, and lag() tells the latter.
  for (const auto& [partition, applied] : offsets_after(applied_)) {
    const auto end = log_ends_.find(partition);
    if (end == log_ends_.end()) continue;
    summary.lag_records += std::max<int64_t>(0, end->second.value() - applied.value());
  }
  if (!summary.problem.empty()) return summary;
  const std::string starts = needs_executors() ? host_.start_trouble(job_) : "";
  if (!starts.empty()) summary.problem = starts;
  for (const auto& [process, member] : members_) {
    if (!member.trouble.empty()) summary.problem = member.trouble;
  }
  for (const std::string* trouble :
       {&fence_trouble_, &sink_trouble_, &checkpoint_trouble_, &log_trouble_, &store_trouble_}) {
    if (!trouble->empty()) summary.problem = *trouble;
  }
  // Of which the others are consequences.
  if (std::string trouble = needs_executors() && starts.empty() ? deaths_.text() : ""; !trouble.empty()) {
    summary.problem = std::move(trouble);
  }
  if (std::string trouble = needs_executors() ? stuck_trouble() : ""; !trouble.empty()) {
    summary.problem = std::move(trouble);
  }
  return summary;
}

void JobController::show_at_first(const api::JobSummary& before) {
  last_known_.batch = before.applied.batch;
  last_known_.records = before.records;
  last_known_.emitted = before.emitted;
  last_known_.dead_letters = before.dead_letters;
  last_known_.late = before.late;
  last_known_.watermark_ms = before.watermark_ms;
  last_published_ = BatchId(before.published);
}

void JobController::on_trouble(ProcessId from, const wire::Trouble& trouble) {
  if (trouble.fatal) return fail_job(trouble.what);
  Member* member = find_member(from);
  if (member->trouble != trouble.what && !trouble.what.empty()) {
    LOG(WARNING) << "job " << record_.spec.name << ": executor " << to_string(from) << ": " << trouble.what;
  }
  member->trouble = trouble.what;
  if (trouble.stuck && ledger_ != nullptr) {
    stuck_ = Stuck{from, trouble.what, slowest_applied()};
  } else if (stuck_ && stuck_->process == from) {
    stuck_.reset();
  }
}

// What was told stays true when its executor is gone: another one comes to the same place.
std::string JobController::stuck_trouble() const {
  if (!stuck_ || ledger_ == nullptr || slowest_applied() > stuck_->applied) return "";
  return stuck_->what +
         (members_.contains(stuck_->process) ? "" : "; that executor has ended, another one tries the same again") +
         "; stop the job, mend the function that never returns and `millrace upgrade` the job, or give millrace-worker "
         "a "
         "longer --lane_timeout where it only takes long";
}

// What the executor was given and has not told to be done, for people, with the records that it is made of: all of it,
// since nobody knows at which part it was.
std::string JobController::work_of(ProcessId process) const {
  const auto joined = [](const std::vector<std::string>& all, const char* between) {
    constexpr size_t kMost = 4;
    std::string text;
    for (size_t i = 0; i < all.size() && i < kMost; ++i) text += (i == 0 ? "" : between) + all[i];
    return all.size() > kMost ? text + " and " + std::to_string(all.size() - kMost) + " more" : text;
  };
  std::vector<std::string> parts;
  const auto add = [&](const char* what, BatchId from, BatchId to, const std::map<LogPartition, OffsetRange>& records) {
    std::vector<std::string> places;
    for (const auto& [partition, range] : records) {
      places.push_back(topics_.place(partition) + " offsets " + std::to_string(range.from.value()) + " to " +
                       std::to_string(range.to.value()));
    }
    parts.push_back(std::string(what) + (from == to ? " batch " : " batches " + std::to_string(from.value()) + " to ") +
                    std::to_string(to.value()) + (places.empty() ? "" : " (" + joined(places, ", ") + ")"));
  };
  const auto merge = [](std::map<LogPartition, OffsetRange>& records, const RangeFacts& facts) {
    OffsetRange& range = records.try_emplace(facts.partition, facts.range).first->second;
    range = {std::min(range.from, facts.range.from), std::max(range.to, facts.range.to)};
  };
  for (const Ledger::Batch& batch : ledger_->batches()) {
    std::map<LogPartition, OffsetRange> records;
    for (const Ledger::Range& range : batch.ranges) {
      if (range.facts.mapper == process && !range.result) merge(records, range.facts);
    }
    if (!records.empty()) add("map", BatchId(batch.record.batch), BatchId(batch.record.batch), records);
  }
  std::map<BatchId, std::vector<std::string>> to_apply;  // state partitions by the first batch
  for (size_t i = 0; i < states_.size(); ++i) {
    if (assignment_.states[i].process != process || states_[i].applied >= ledger_->newest_durable()) continue;
    to_apply[states_[i].applied.next()].push_back(std::to_string(i));
  }
  for (const auto& [first, partitions] : to_apply) {
    std::map<LogPartition, OffsetRange> records;
    for (const Ledger::Batch& batch : ledger_->batches()) {
      const BatchId id(batch.record.batch);
      if (id < first || id > ledger_->newest_durable()) continue;
      for (const Ledger::Range& range : batch.ranges) merge(records, range.facts);
    }
    add("apply", first, ledger_->newest_durable(), records);
    parts.back() += " in state partition " + joined(partitions, ", ");
  }
  return joined(parts, "; ");
}

ExecutorDeaths::Progress JobController::progress() const {
  const bool at_work = assigned_once_ && !assigning_ && !has_orphans() && !restoring() &&
                       std::ranges::all_of(states_, &StatePartitionStatus::loaded);
  return {applied_, ledger_->newest(), at_work && slowest_applied() == ledger_->newest()};
}

void JobController::executor_ended(ProcessId process, const std::string& worker, const std::string& how) {
  if (!deaths_.ended(process, worker, how) || !needs_executors()) return;
  LOG(ERROR) << "job " << record_.spec.name << ": " << deaths_.text();
  if (deaths_.too_many()) fail_job(deaths_.text());
}

bool JobController::is_settled() const {
  if (phase_ == Phase::kLoading) return !store_trouble_.empty();
  return !needs_executors() || (assigned_once_ && log_seen_) || !summary().problem.empty();
}

api::JobDescription JobController::describe() const {
  api::JobDescription description;
  description.summary = summary();
  description.source = masked(record_.spec.source);
  description.sink = masked(record_.spec.sink);
  description.receiver = record_.spec.receiver;
  for (const auto& [name, place] : record_.spec.outputs) {
    const auto uri = parse_uri(place);
    description.outputs[name] = uri.has_value() ? uri->masked() : "";
  }
  description.tables = plan_as<api::JobPlan>({.tables = layout_}).tables;
  description.batch_interval_ms = record_.spec.batch_interval_us / 1000;
  description.checkpoint_interval_ms = record_.spec.checkpoint_interval_us / 1000;
  description.settings = record_.spec.settings;
  description.version = record_.spec.version;
  description.state_partitions = record_.spec.state_partitions;
  description.checkpoint_batch = coordinator_.newest_batch().value();
  description.recent = profiles_.newest(20);
  for (api::BatchProfile& profile : description.recent) profile.steps.clear();
  if (watermark_) {
    const auto holder = watermark_->holder();
    description.watermark_held_by =
        holder ? topics_.place(*holder) : "the records to come: all log partitions are idle";
  }
  for (const auto& [process, member] : members_) {
    api::ExecutorSummary executor;
    executor.process = to_string(process);
    executor.worker = member.worker_name;
    executor.keys = member.keys;
    executor.memory_bytes = member.memory_bytes;
    BatchId slowest = ledger_ == nullptr ? BatchId(0) : ledger_->newest();
    for (size_t i = 0; i < assignment_.states.size(); ++i) {
      if (assignment_.states[i].process != process) continue;
      ++executor.state_partitions;
      slowest = std::min(slowest, states_[i].applied);
    }
    executor.applied = slowest.value();
    for (const auto& [partition, owner] : assignment_.logs) executor.log_partitions += owner == process ? 1 : 0;
    description.executors.push_back(std::move(executor));
  }
  description.recovering_partitions =
      std::count_if(states_.begin(), states_.end(), [](const StatePartitionStatus& state) { return state.restoring; });
  return description;
}

api::BatchProfiles JobController::batches(size_t n, BatchId before) const {
  api::BatchProfiles answer;
  answer.as_of = summary().applied;
  answer.now_ms = clock_.wall_now().unix_ms;
  answer.batches = profiles_.newest(n, before);
  return answer;
}

std::string JobController::internals() const {
  if (ledger_ == nullptr) return "loading";
  std::string text = "newest " + std::to_string(ledger_->newest().value()) + ", durable " +
                     std::to_string(ledger_->newest_durable().value()) + ", slowest " +
                     std::to_string(slowest_applied().value()) + ", totals " + std::to_string(ledger_->totals().batch) +
                     ", assignment " + std::to_string(assignment_.number.value()) +
                     (assigning_ ? " (being made)" : "") + ", replays to issue " + std::to_string(replays_.size());
  if (round_.has_value()) {
    text += ", round " + std::to_string(round_->batch.value()) + " waits for " +
            std::to_string(round_->waiting.size()) + (round_->end_sent ? " (end sent)" : "");
  }
  if (coordinator_.open()) text += ", checkpoint " + std::to_string(coordinator_.open_batch().value()) + " open";
  for (size_t i = 0; i < states_.size(); ++i) {
    text += "; p" + std::to_string(i) + "@" + std::to_string(states_[i].applied.value()) +
            (states_[i].restoring ? "r" : "");
  }
  return text;
}

void JobController::lag(std::move_only_function<void(Result<api::Lag>)> done) {
  if (ledger_ == nullptr || !needs_executors()) {
    return done(fail(ErrorCode::kUnavailable, "job '" + record_.spec.name + "' is not running; resume it"));
  }
  log_->describe(lifetime_.guard([this, done = std::move(done)](Result<LogDescription> described) mutable {
    if (ledger_ == nullptr) return done(fail(ErrorCode::kUnavailable, "the job is loading"));
    LogOffsets ends = log_ends_;
    api::Lag lag;
    if (described.has_value()) {
      ends.clear();
      for (const LogDescription::Partition& partition : described->partitions) ends[partition.id] = partition.end;
    } else {
      lag.problem = described.error().message;
      for (LogPartition partition : cutter_.partitions()) ends.try_emplace(partition, cutter_.next_offset(partition));
    }
    lag.as_of = as_of(applied_);
    const LogOffsets offsets = offsets_after(applied_);
    for (const auto& [partition, end] : ends) {
      api::PartitionLag entry;
      entry.topic = topics_.name_of(partition);
      entry.partition = topic_partition(partition);
      entry.end_offset = end.value();
      const auto applied = offsets.find(partition);
      entry.applied_offset = applied == offsets.end() ? 0 : applied->second.value();
      lag.partitions.push_back(entry);
    }
    done(std::move(lag));
  }));
}

api::Values JobController::values_of(size_t table, const QueryRouter::Answer& answer) const {
  api::Values values;
  values.as_of = as_of(answer.batch);
  if (layout_.size() > 1) values.table = layout_[table].name;
  for (const wire::QueryEntry& entry : answer.entries) {
    api::Value value;
    value.key = entry.key;
    value.text = entry.text;
    value.found = entry.found;
    values.values.push_back(std::move(value));
  }
  return values;
}

// The number of the table that a query is about.
Result<size_t> JobController::find_table(const std::string& name, WantedTable wanted) const {
  if (!needs_executors() && phase_ != Phase::kLoading) {
    return fail(ErrorCode::kUnavailable, "job '" + record_.spec.name + "' is not running; resume it");
  }
  return millrace::find_table(layout_, name, wanted, "job '" + record_.spec.name + "'");
}

void JobController::get(const std::string& table, std::vector<std::string> keys, BatchId at_least,
                        std::move_only_function<void(Result<api::Values>)> done) {
  const Result<size_t> number = find_table(table, WantedTable::kAny);
  if (!number.has_value()) return done(std::unexpected(number.error()));
  queries_.get(*number, std::move(keys), at_least, answer_by(*number, std::move(done)));
}

void JobController::top(const std::string& table, int32_t n, BatchId at_least,
                        std::move_only_function<void(Result<api::Values>)> done) {
  const Result<size_t> number = find_table(table, WantedTable::kRanked);
  if (!number.has_value()) return done(std::unexpected(number.error()));
  queries_.top(*number, n, at_least, answer_by(*number, std::move(done)));
}

QueryRouter::Done JobController::answer_by(size_t table, std::move_only_function<void(Result<api::Values>)> done) {
  return lifetime_.guard([this, table, done = std::move(done)](auto answer) mutable {
    if (!answer.has_value()) return done(std::unexpected(answer.error()));
    done(values_of(table, *answer));
  });
}

}  // namespace millrace
