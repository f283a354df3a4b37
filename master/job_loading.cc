// JobController: what it finds when it begins: checkpoints, batch log, totals, assignment, the log's partitions.

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/model/job_plan.h"
#include "master/job_controller.h"

namespace millrace {
namespace {

// Reading it again will give the same. All else passes, as when a file system comes back; and who gives a checkpoint up
// has nothing left when it does.
bool is_final(ErrorCode code) {
  return code == ErrorCode::kNotFound || code == ErrorCode::kCorrupt || code == ErrorCode::kInvalid;
}

std::set<std::string> files_of(const wire::FormerVersion& former) {
  std::set<std::string> names(former.files.begin(), former.files.end());
  names.insert(former.checkpoint.name);
  return names;
}

}  // namespace

void JobController::start(bool executors_may_return) {
  executors_may_return_ = executors_may_return;
  if (auto totals = store_.read_totals(job_, BatchId(0)); totals.has_value() && !totals->empty()) {
    last_known_ = totals->back();
  }
  if (record_.state == wire::JobState::STOPPED || record_.state == wire::JobState::FAILED) {
    phase_ = record_.state == wire::JobState::STOPPED ? Phase::kStopped : Phase::kFailed;
    ledger_ = std::make_unique<Ledger>(last_known_);
    applied_ = published_ = ledger_->newest();
    return;
  }
  phase_ = Phase::kLoading;
  stop_deadline_ = clock_.now() + options_.stop_limit;  // of one that is stopping already
  std::deque<wire::CheckpointRef> references(record_.checkpoints.begin(), record_.checkpoints.end());
  load_checkpoints(std::move(references), {});
}

void JobController::load_checkpoints(std::deque<wire::CheckpointRef> references, std::deque<KeptCheckpoint> kept) {
  if (references.empty()) {
    load_log(std::move(kept));
    return;
  }
  const wire::CheckpointRef reference = references.front();
  references.pop_front();
  checkpoints_.read(reference.name, lifetime_.guard([this, reference, references = std::move(references),
                                                     kept = std::move(kept)](Result<std::string> bytes) mutable {
    if (!bytes.has_value() && !is_final(bytes.error().code)) {
      store_trouble_ = bytes.error().message;
      if (record_.state == wire::JobState::STOPPING && clock_.now() >= stop_deadline_) {
        phase_ = Phase::kStopping;
        return finish_stop("its checkpoints could not be read: " + store_trouble_);
      }
      references.push_front(reference);
      loop_.schedule(options_.retry, lifetime_.guard([this, references, kept]() mutable {
        load_checkpoints(std::move(references), std::move(kept));
      }));
      return;
    }
    if (bytes.has_value()) {
      accept_manifest(reference, *bytes, kept);
    } else {
      refuse_checkpoint(reference, bytes.error().message);
    }
    load_checkpoints(std::move(references), std::move(kept));
  }));
}

void JobController::refuse_checkpoint(const wire::CheckpointRef& reference, const std::string& why) {
  checkpoint_trouble_ = "checkpoint " + reference.name + " is refused: " + why;
  LOG(ERROR) << "job " << record_.spec.name << ": " << checkpoint_trouble_;
}

void JobController::accept_manifest(const wire::CheckpointRef& reference, const std::string& bytes,
                                    std::deque<KeptCheckpoint>& kept) {
  auto manifest = read_manifest(reference, bytes, job_);
  if (!manifest.has_value()) return refuse_checkpoint(reference, manifest.error().message);
  kept.push_back({reference, std::move(*manifest)});
}

void JobController::load_log(std::deque<KeptCheckpoint> kept) {
  wire::BatchTotals base;
  if (!kept.empty()) base = kept.front().manifest.totals;
  const BatchId base_batch(kept.empty() ? 0 : kept.front().manifest.batch);
  CHECK_EQ(base.batch, base_batch.value());

  auto batches = store_.read_batches(job_, base_batch);
  auto totals = store_.read_totals(job_, base_batch);
  auto assignment = store_.read_assignment(job_);
  for (const Error* error :
       {batches.has_value() ? nullptr : &batches.error(), totals.has_value() ? nullptr : &totals.error(),
        assignment.has_value() ? nullptr : &assignment.error()}) {
    if (error != nullptr) return fail_job(error->message);
  }
  const BatchId end(batches->empty() ? base_batch.value() : batches->back().batch);
  if (!kept.empty() && kept.back().manifest.batch > end.value()) {
    // Who asked to go back to a checkpoint was told that it failed, and it had not.
    return fail_job("its newest checkpoint is of batch " + std::to_string(kept.back().manifest.batch) +
                    ", and its batch log ends at batch " + std::to_string(end.value()) +
                    "; resume it with --from and the checkpoint of that batch");
  }
  const BatchId referred(record_.checkpoints.empty() ? 0 : record_.checkpoints.back().batch);
  const BatchId needed = batches->empty() ? referred : BatchId(batches->front().batch).previous();
  if (base_batch != needed) {
    return fail_job("no usable checkpoint is left for batch " + std::to_string(needed.value()) + " (" +
                    checkpoint_trouble_ +
                    "); restore the checkpoint files and resume the job, or kill it and submit it again");
  }

  ledger_ = std::make_unique<Ledger>(base);
  LogOffsets next = kept.empty() ? start_of(record_.spec) : offsets_of(kept.front().manifest);
  for (const KeptCheckpoint& checkpoint : kept) {
    recorded_times_.time_ms = std::max(recorded_times_.time_ms, checkpoint.manifest.time_ms);
    recorded_times_.tick_ms = std::max(recorded_times_.tick_ms, checkpoint.manifest.tick_ms);
  }
  for (wire::BatchRecord& record : *batches) {
    for (wire::PlannedRange& range : record.ranges) {
      next[LogPartition(range.partition)] = Offset(range.to_offset);
      range.mapper = 0;  // whoever mapped it did so for another master
    }
    recorded_times_.time_ms = std::max(recorded_times_.time_ms, record.time_ms);
    if (record.tick) recorded_times_.tick_ms = record.time_ms;
    if (!record.ranges.empty()) last_changed_ = BatchId(record.batch);
    ledger_->add(std::move(record), true);
  }
  for (const wire::BatchTotals& stored : *totals) {
    for (const wire::MapResult& result : stored.results) {
      if (const auto noted = ledger_->note_result(BatchId(stored.batch), result); !noted.has_value()) {
        return fail_job(noted.error().message);
      }
    }
  }
  ledger_->advance_totals();
  for (const auto& [partition, offset] : next) {
    cutter_.add_partition(partition, offset);
    assignment_.logs[partition] = kNoProcess;
  }

  coordinator_.adopt(std::move(kept), files_of(record_.former));
  const BatchId restored = coordinator_.newest_batch();
  const bool newest_is_refused = restored != referred;
  if (record_.checkpoints.size() != coordinator_.kept().size()) {
    record_.checkpoints.clear();
    for (const KeptCheckpoint& checkpoint : coordinator_.kept()) record_.checkpoints.push_back(checkpoint.reference);
    save_record([](Status) {});
  }
  states_.assign(static_cast<size_t>(record_.spec.state_partitions), {restored, true, ledger_->newest()});
  assignment_.states.assign(states_.size(), {});
  if (assignment->has_value()) {
    const wire::AssignmentRecord& stored = **assignment;
    assignment_.number = Generation(stored.generation);
    // Where the newest checkpoint is given up all load again: the survivors' lists of changed keys begin at it.
    if (!executors_may_return_ || newest_is_refused) return begin_running();
    assignment_.rank_owner = process_of(stored.rank_owner);
    for (const wire::StateOwner& owner : stored.states) {
      assignment_.states.at(static_cast<size_t>(owner.partition)) = {process_of(owner.process),
                                                                     Generation(owner.generation)};
    }
    for (const wire::LogOwner& owner : stored.logs) {
      // One that was added lately may have come to no batch and no checkpoint; watch_log() adds it again.
      const auto known = assignment_.logs.find(LogPartition(owner.partition));
      if (known != assignment_.logs.end()) known->second = process_of(owner.process);
    }
  }
  begin_running();
}

void JobController::begin_running() {
  phase_ = record_.state == wire::JobState::STOPPING ? Phase::kStopping : Phase::kRunning;
  stop_deadline_ = clock_.now() + options_.stop_limit;
  store_trouble_.clear();
  restart_floor_ = ledger_->newest();
  applied_ = published_ = BatchId(0);
  answers_ = restart_floor_ == BatchId(0);
  force_round_ = restart_floor_ > BatchId(0);
  if (executors_may_return_) changes_.expect_readers();
  const bool had_owners = std::any_of(assignment_.states.begin(), assignment_.states.end(),
                                      [](const StateOwnership& state) { return state.process != kNoProcess; });
  hold_until_ = clock_.now() + (had_owners ? options_.return_grace : options_.settle);
  last_checkpoint_ = last_rank_ = clock_.now();
  if (needs_time()) {
    const Duration interval = std::chrono::microseconds(record_.spec.batch_interval_us);
    // A former version of the job may have gone by no time.
    const int64_t interval_ms = to_ms(interval);
    recorded_times_.time_ms = (recorded_times_.time_ms + interval_ms - 1) / interval_ms * interval_ms;
    batch_clock_.emplace(interval, recorded_times_, clock_.wall_now(), clock_.now());
  }
  if (const auto event_time = plan_from(record_.spec.plan).event_time) {
    const auto& batches = ledger_->batches();
    const int64_t recorded_ms = batches.empty() ? ledger_->totals().watermark_ms : batches.back().record.watermark_ms;
    watermark_.emplace(*event_time, record_.spec.batch_interval_us / 1000, recorded_ms);
    for (const LogPartition partition : cutter_.partitions()) watermark_->add(partition);
    for (const auto& [partition, event_ms] : ledger_->totals().event_ms) {
      watermark_->tell(LogPartition(partition), event_ms);
    }
  }
  for (const auto& [process, member] : members_) credit_owned(member);
  watch_log();
  // Until a former incarnation is out of the sink, what it published may still come, and must go.
  const bool has_checkpoint_of_its_own =
      coordinator_.newest() != nullptr && coordinator_.newest()->manifest.incarnation == record_.incarnation;
  if (record_.incarnation > 1 && !has_checkpoint_of_its_own) claim_sink();
  if (phase_ == Phase::kStopping) schedule_tick();
  loop_.post(lifetime_.guard([this] { evaluate_assignment(); }));
}

void JobController::watch_log() {
  // As of the question: what is planned until the answer comes may lie beyond the ends that it tells.
  LogOffsets planned;
  for (const LogPartition partition : cutter_.partitions()) planned[partition] = cutter_.next_offset(partition);
  log_->describe(lifetime_.guard([this, planned = std::move(planned)](Result<LogDescription> described) {
    if (!needs_executors()) return;  // it has ended meanwhile, and what the log is now is no reason to fail
    if (described.has_value()) {
      log_trouble_.clear();
      log_seen_ = true;
      if (is_another_topic(record_.spec.topic_id, described->topic_id)) {
        fail_job("the log of " + record_.spec.name + " was deleted and made anew; kill the job and submit it again");
        return;
      }
      bool added = false;
      for (const LogDescription::Partition& partition : described->partitions) {
        log_ends_[partition.id] = partition.end;
        if (const auto next = planned.find(partition.id); next != planned.end() && partition.end < next->second) {
          fail_job(topics_.place(partition.id) + " ends at offset " + std::to_string(partition.end.value()) +
                   ", but what is before " + std::to_string(next->second.value()) +
                   " was counted: restore the log, or kill the job and submit it again");
          return;
        }
        if (assignment_.logs.contains(partition.id)) continue;
        cutter_.add_partition(partition.id, Offset(0));
        if (watermark_) watermark_->add(partition.id);
        assignment_.logs[partition.id] = kNoProcess;
        added = true;
      }
      if (added) evaluate_assignment();
    } else {
      log_trouble_ = described.error().message;
    }
    loop_.schedule(std::chrono::seconds(1), lifetime_.guard([this] { watch_log(); }));
  }));
}

}  // namespace millrace
