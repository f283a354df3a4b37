// JobController: publication rounds and checkpoints, and how a job ends.

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "master/job_controller.h"

namespace millrace {

// --- publication rounds
// ------------------------------------------------------------------------------------------------

void JobController::on_published(ProcessId from, BatchId batch, const wire::Published& published) {
  if (!round_.has_value() || round_->batch != batch) return;
  for (const wire::OwnedPartition& report : published.lost) {
    if (is_current(from, report)) return repair_sink();
  }
  for (const wire::OwnedPartition& report : published.partitions) {
    if (is_current(from, report)) round_->waiting.erase(StatePartition(report.partition));
  }
  advance_round();
}

// The sink lost data (or never had it): the round is given up, the job's keys are claimed again, and the next round
// brings what is missing. Partitions that lost something know it, or find out in that round.
void JobController::repair_sink() {
  round_.reset();
  if (claiming_ || purging_) return;
  ++events_.sink_losses;
  if (sink_trouble_.empty()) {
    LOG(WARNING) << "job " << record_.spec.name << ": the sink lost earlier results; they are published again";
  }
  claim_sink();
}

void JobController::claim_sink() {
  claiming_ = true;
  sink_->claim(sink_identity(), false, lifetime_.guard([this](Status status) {
    claiming_ = false;
    force_round_ = true;
    sink_trouble_ = status.has_value() ? "" : status.error().message;
    if (status.has_value()) return;
    claiming_ = true;
    loop_.schedule(options_.retry, lifetime_.guard([this] {
      claiming_ = false;
      repair_sink();
    }));
  }));
}

// It was thought dead and is not, or it is slow to hear of its loss. If it still is the owner, somebody else's writes
// are in the sink: a new generation overrules them. The open round waits for that; and where it does not help, it is
// tried more and more seldom.
void JobController::on_fenced_out(ProcessId from, BatchId batch, const wire::FencedOut& fenced) {
  bool concerns_us = fenced.partitions.empty() && from == assignment_.rank_owner && round_.has_value() &&
                     round_->batch == batch;  // the end of the round was fenced
  for (const wire::OwnedPartition& report : fenced.partitions) {
    if (!is_current(from, report)) continue;
    fenced_[StatePartition(report.partition)] = Generation(report.generation);
    concerns_us = true;
  }
  if (!concerns_us || overruling_later_) return;
  overruling_later_ = true;
  const bool again = fence_pause_ > Duration::zero();
  fence_pause_ = std::clamp(fence_pause_ * 2, options_.fence_pause, options_.fence_pause_most);
  if (again) {
    fence_trouble_ =
        "the sink refuses results as if a younger owner had published, again and again; see whether another "
        "cluster publishes as job '" +
        record_.spec.name + "', and end it there";
  }
  if (fence_pause_ == options_.fence_pause || fence_pause_ == options_.fence_pause_most) {
    LOG(WARNING) << "job " << record_.spec.name << ": owners of state partitions are fenced out of the sink";
  }
  loop_.schedule(fence_pause_, lifetime_.guard([this] { overrule_fences(); }));
}

void JobController::overrule_fences() {
  overruling_later_ = false;
  for (const auto& [partition, generation] : std::exchange(fenced_, {})) {
    if (assignment_.states[static_cast<size_t>(partition.value())].generation == generation) {
      reload_.push_back(partition);
    }
  }
  // One whose end was fenced is given up like any round that fails.
  round_.reset();
  force_round_ = true;
  evaluate_assignment();
}

void JobController::purge_sink(std::move_only_function<void(Status)> done) {
  if (sink_ == nullptr) {
    return done(fail(ErrorCode::kInvalid, "the keys of job '" + record_.spec.name + "' cannot be removed, because " +
                                              record_.problem + "; kill it without --purge"));
  }
  purging_ = true;
  round_.reset();
  sink_->purge(sink_identity(), lifetime_.guard([this, done = std::move(done)](Status status) mutable {
    purging_ = status.has_value();
    if (!purging_) force_round_ = true;
    done(std::move(status));
  }));
}

SinkIdentity JobController::sink_identity() const {
  return {record_.spec.name, job_, Incarnation(record_.incarnation), layout_};
}

void JobController::advance_round() {
  if (!round_.has_value() || round_->end_sent || !round_->waiting.empty()) return;
  if (!round_->totals.has_value()) return;
  round_->end_sent = true;
  wire::EndRound end;
  end.status = round_status(*round_);
  wire::Body body;
  body.__set_end_round(end);
  send(assignment_.rank_owner, body, round_->batch);
}

LogOffsets JobController::offsets_after(BatchId batch) const {
  const auto& kept = coordinator_.kept();
  LogOffsets next = kept.empty() ? start_of(record_.spec) : offsets_of(kept.front().manifest);
  for (LogPartition partition : cutter_.partitions()) next.try_emplace(partition);  // those added since, at 0
  for (const Ledger::Batch& entry : ledger_->batches()) {
    if (BatchId(entry.record.batch) > batch) break;
    for (const wire::PlannedRange& range : entry.record.ranges) {
      next[LogPartition(range.partition)] = Offset(range.to_offset);
    }
  }
  return next;
}

std::map<std::string, std::string> JobController::round_status(const Round& round) const {
  const wire::BatchTotals& totals = *round.totals;
  std::string offsets;
  for (const auto& [partition, offset] : round.offsets) {
    offsets += (offsets.empty() ? "" : ",") + topics_.label(partition) + ":" + std::to_string(offset.value());
  }
  return {{"job_id", to_string(job_)},
          {"incarnation", std::to_string(record_.incarnation)},
          {"epoch", std::to_string(epoch_.value())},
          {"batch", std::to_string(totals.batch)},
          {"records", std::to_string(totals.records)},
          {"words", std::to_string(totals.emitted)},
          {"dead_letters", std::to_string(totals.dead_letters)},
          {"offsets", offsets},
          {"updated_ms", std::to_string(clock_.wall_now().unix_ms)}};
}

void JobController::on_round_ended(BatchId batch, bool lost) {
  if (!round_.has_value() || round_->batch != batch) return;
  if (lost) return repair_sink();
  last_round_ = clock_.now();
  fence_pause_ = Duration::zero();
  fence_trouble_.clear();
  published_ = batch;
  ++events_.publications;
  round_.reset();
  changes_.round_complete(batch);
  profiles_.published(batch, clock_.now());
  send_progress();
  // What came while the round was open has waited for a tick already; unless batches queue up, it does not for another.
  if (last_changed_ > batch && ledger_->newest().value() - slowest_applied().value() <= 1) try_cut();
  check_stopped();
}

// --- checkpoints
// -------------------------------------------------------------------------------------------------------

void JobController::begin_checkpoint(const Ledger::Batch& batch) {
  checkpoint_wanted_ = false;
  last_checkpoint_ = clock_.now();
  wire::Manifest draft;
  draft.job = record_.job;
  draft.incarnation = record_.incarnation;
  draft.epoch = epoch_.value();
  draft.batch = batch.record.batch;
  set_offsets(draft, offsets_after(BatchId(batch.record.batch)));
  draft.time_ms = batch.record.time_ms;
  draft.tick_ms = batch_clock_ ? batch_clock_->newest_tick_ms() : 0;
  draft.job_type = record_.spec.type;
  draft.job_version = record_.spec.version;
  draft.states = record_.spec.plan.states;
  draft.state_partitions = record_.spec.state_partitions;
  std::map<ProcessId, std::vector<StatePartition>> owned;
  for (size_t i = 0; i < states_.size(); ++i) {
    owned[assignment_.states[i].process].push_back(StatePartition(static_cast<int32_t>(i)));
  }
  std::vector<CheckpointCoordinator::Participant> participants;
  for (auto& [process, partitions] : owned) participants.push_back({process, std::move(partitions)});
  coordinator_.begin(std::move(draft), checkpoint_folder(record_.spec.name, job_, Incarnation(record_.incarnation)),
                     std::move(participants));
}

void JobController::commit_checkpoint(const KeptCheckpoint& added, std::move_only_function<void(Status)> done) {
  // Whoever resumes the job has a copy of its record, which would name less than the batch log has by then.
  if (!needs_executors()) return done(fail(ErrorCode::kUnavailable, "the job has stopped"));
  // At once: whatever saves the record while this is under way, as a stop does, is durable after it and must not take
  // the checkpoint back, because by then the batches and changed keys that it covers are forgotten.
  std::vector<wire::CheckpointRef> before = record_.checkpoints;
  record_.checkpoints = coordinator_.references_with(added);
  WriteSet set;
  JobStore::put_job(set, record_);
  const BatchId oldest(record_.checkpoints.front().batch);
  JobStore::remove_batches(set, job_, coordinator_.oldest_batch(), oldest);
  store_.commit(std::move(set),
                lifetime_.guard([this, before = std::move(before), done = std::move(done)](Status status) mutable {
                  if (!status.has_value()) record_.checkpoints = std::move(before);
                  done(std::move(status));
                }));
}

void JobController::on_checkpoint_completed(BatchId batch) {
  VLOG(1) << "job " << record_.spec.name << ": checkpoint of batch " << batch;
  checkpoint_trouble_.clear();
  checkpoints_fail_ = false;
  ++events_.checkpoints;
  advance_applied();
  profiles_.checkpointed(batch, clock_.now());
  // A partition that moved while the checkpoint was being written begins at one before it.
  ledger_->forget_up_to(std::min(coordinator_.oldest_batch(), slowest_applied()));
  send_progress();
  handover_ready_ = true;
  evaluate_assignment();
  handover_ready_ = false;
  check_stopped();
}

void JobController::on_checkpoint_abandoned(BatchId batch, const std::string& cause, bool failed) {
  ++(failed ? events_.checkpoints_failed : events_.checkpoints_given_up);
  // While a disk is full it happens at every interval.
  if (checkpoint_trouble_.empty()) {
    LOG(WARNING) << "job " << record_.spec.name << ": checkpoint of batch " << batch << " is abandoned: " << cause;
  }
  checkpoint_trouble_ = "checkpoint of batch " + std::to_string(batch.value()) + " was abandoned: " + cause;
  wire::Body body;
  body.__set_abandon_checkpoint({});
  send_to_assigned(body, batch);
  if (!failed || checkpoints_fail_) return;
  checkpoints_fail_ = true;
  loop_.post(lifetime_.guard([this] { evaluate_assignment(); }));
}

// A master that gave the newest checkpoint up has everybody load again; where it ended before it told them, the next
// one knows nothing of that, and takes over who holds the changes since then only.
void JobController::reload_all_of(ProcessId owner) {
  for (size_t i = 0; i < assignment_.states.size(); ++i) {
    if (assignment_.states[i].process == owner) reload_.push_back(StatePartition(static_cast<int32_t>(i)));
  }
  evaluate_assignment();
}

// --- the end
// -------------------------------------------------------------------------------------------------------------

void JobController::save_record(std::move_only_function<void(Status)> done) {
  WriteSet set;
  JobStore::put_job(set, record_);
  store_.commit(std::move(set), std::move(done));
}

void JobController::fail_job(const std::string& problem) {
  if (phase_ == Phase::kFailed) return;
  LOG(ERROR) << "job " << record_.spec.name << " failed: " << problem;
  phase_ = Phase::kFailed;
  record_.state = wire::JobState::FAILED;
  record_.problem = problem;
  save_record([](Status) {});
  finish_stop(problem);
}

void JobController::stop(std::move_only_function<void(Status)> done) {
  if (!needs_executors() && phase_ != Phase::kLoading) {
    done(fail(ErrorCode::kInvalid, "job '" + record_.spec.name + "' has " +
                                       (phase_ == Phase::kStopped ? "stopped" : "failed") +
                                       " already; resume or kill it"));
    return;
  }
  stop_waiters_.push_back(std::move(done));
  if (phase_ == Phase::kStopping) return;
  record_.state = wire::JobState::STOPPING;
  if (phase_ == Phase::kRunning) phase_ = Phase::kStopping;
  stop_deadline_ = clock_.now() + options_.stop_limit;
  save_record([](Status) {});
  if (phase_ == Phase::kStopping) schedule_tick();
  check_stopped();
}

void JobController::answer_all(const Error& error) {
  queries_.fail_all(error);
  changes_.fail_all(error);
  views_.fail_all(error);
  for (auto& waiter : std::exchange(stop_waiters_, {})) waiter(std::unexpected(error));
}

void JobController::check_stopped() {
  if (phase_ != Phase::kStopping) return;
  if (stop_deadline_ == MonotonicTime()) stop_deadline_ = clock_.now() + options_.stop_limit;
  const bool idle = assigned_once_ && !assigning_ && !members_.empty() && !restoring() &&
                    slowest_applied() == ledger_->newest() && ledger_->newest_durable() == ledger_->newest();
  const bool published = !round_.has_value() && !claiming_ && !wants_publication();
  const bool checkpointed = !coordinator_.open() && !wants_checkpoint();
  if (idle && published && checkpointed) return finish_stop("");
  // Nothing is lost by stopping out of order: the batch log has what the checkpoint has not.
  // Where the job's code does not come back there is nothing to wait for.
  if (!stuck_trouble().empty()) return finish_stop(describe_untidy_stop());
  // A checkpoint whose files are all written needs nobody any more.
  const bool nobody_comes =
      members_.empty() && clock_.now() >= hold_until_ && !host_.expects_executors(job_) && !coordinator_.is_final();
  if (nobody_comes) {
    return finish_stop(!checkpointed ? "no worker was there to write a last checkpoint; start one before it is resumed"
                       : last_changed_ > published_ ? "no worker was there to publish the last values"
                                                    : "");
  }
  if (clock_.now() >= stop_deadline_) {
    finish_stop(describe_untidy_stop());
  }
}

// What is left undone at the end of the time for a stop. Batches without records do not count: each try of a checkpoint
// ends one, and there is always a newest.
std::string JobController::describe_untidy_stop() const {
  const auto because = [](const std::string& trouble) { return trouble.empty() ? "" : ": " + trouble; };
  std::string text;
  if (!assigned_once_ || slowest_applied() < last_changed_ || ledger_->newest_durable() < last_changed_) {
    text = "before all its batches were applied" + because(stuck_trouble().empty() ? store_trouble_ : stuck_->what);
  } else if (published_ < last_changed_) {
    text = "before the sink had taken the last values" + because(sink_trouble_);
  } else {
    text = "without a last checkpoint" + because(checkpoint_trouble_);
  }
  const char* const remedy = stuck_trouble().empty()
                                 ? ""
                                 : "mend the function that never returns and `millrace upgrade` the job, or kill it; ";
  return "stopped " + text + "; " + remedy + "`resume` replays from batch " +
         std::to_string(coordinator_.newest_batch().next().value());
}

void JobController::finish_stop(const std::string& note) {
  coordinator_.on_reassignment("the job stops");
  if (phase_ == Phase::kStopping) {
    phase_ = Phase::kStopped;
    record_.state = wire::JobState::STOPPED;
    record_.problem = note;
  }
  const Error at_rest{ErrorCode::kUnavailable, "job '" + record_.spec.name + "' is not running; resume it"};
  queries_.fail_all(at_rest);
  changes_.fail_all(at_rest);
  views_.fail_all(at_rest);
  members_.clear();
  host_.release_all_executors(job_, "the job stopped");
  save_record(lifetime_.guard([this](Status status) {
    auto waiters = std::move(stop_waiters_);
    stop_waiters_.clear();
    for (auto& waiter : waiters) waiter(status);
  }));
}

// --- event time ---------------------------------------------------------------------------------------------------

// All of a plan that is recorded, without flags.
wire::RunBatch JobController::plan_of(const wire::BatchRecord& record) {
  wire::RunBatch plan;
  plan.time_ms = record.time_ms;
  plan.tick = record.tick;
  plan.watermark_ms = record.watermark_ms;
  plan.ranges = record.ranges;
  return plan;
}

// That of a batch whose ranges are cut. It stands still with the time of a job that stops.
int64_t JobController::take_watermark(int64_t time_ms) {
  if (!watermark_) return 0;
  if (phase_ != Phase::kRunning) return watermark_->newest();
  Watermark::Seen seen{.unread = {}, .never_written = {}, .blind = !log_seen_ || !log_trouble_.empty()};
  for (const LogPartition partition : cutter_.partitions()) {
    const auto end = log_ends_.find(partition);
    if (end == log_ends_.end()) continue;
    const Offset next = cutter_.next_offset(partition);
    if (end->second > next) seen.unread.insert(partition);
    if (end->second == Offset(0) && next == Offset(0)) seen.never_written.insert(partition);
  }
  return watermark_->take(time_ms, seen);
}

// What the batch's own maps have found.
void JobController::tell_watermark(const wire::BatchTotals& totals) {
  if (!watermark_) return;
  for (const wire::MapResult& result : totals.results) {
    watermark_->tell(LogPartition(result.partition), result.event_ms);
  }
}

std::optional<BatchId> JobController::end_event_time() {
  if (watermark_ && !end_of_time_) {
    watermark_->end();
    end_of_time_ = ledger_->newest().next();
  }
  return end_of_time_;
}

}  // namespace millrace
