// JobController: batches: cutting, durability, results, the applied watermark.

#include "master/job_controller.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/log_context.h"
#include "stream/job.h"

namespace millrace {

JobController::JobController(JobOptions options, wire::JobRecord record, Epoch epoch, Deps deps)
    : options_(options),
      epoch_(epoch),
      job_(static_cast<uint64_t>(record.job)),
      loop_(deps.loop),
      clock_(deps.clock),
      store_(deps.store),
      checkpoints_(deps.checkpoints),
      host_(deps.host),
      layout_(deps.layout),
      topics_(SourceTopics::of(record.spec.source)),
      record_(std::move(record)),
      log_(std::move(deps.log)),
      sink_(std::move(deps.sink)),
      coordinator_(
          options.checkpoints, checkpoints_,
          {.merge =
               [this](ProcessId process, BatchId batch, wire::MergeState request) {
                 wire::Body body;
                 body.__set_merge_state(request);
                 send(process, body, batch);
               },
           .commit = [this](const KeptCheckpoint& added,
                            std::move_only_function<void(Status)> done) { commit_checkpoint(added, std::move(done)); },
           .totals = [this](BatchId batch) { return ledger_->totals_at(batch); },
           .may_remove =
               [this] {
                 const Result<Epoch> newest = store_.read_epoch();
                 return newest.has_value() && *newest == epoch_;
               },
           .completed = [this](BatchId batch) { on_checkpoint_completed(batch); },
           .abandoned = [this](BatchId batch, const std::string& cause,
                               bool failed) { on_checkpoint_abandoned(batch, cause, failed); },
           .is_beyond = [this](ProcessId process) { reload_all_of(process); }}),
      queries_(loop_, clock_,
               {.send =
                    [this](ProcessId process, wire::Query query) {
                      wire::Body body;
                      body.__set_query(query);
                      send(process, body);
                    },
                .owner =
                    [this](const std::string* key) {
                      if (!assigned_once_) return kNoProcess;
                      if (key == nullptr) return assignment_.rank_owner;
                      const StatePartition partition = state_partition_of(*key, record_.spec.state_partitions);
                      return assignment_.states[static_cast<size_t>(partition.value())].process;
                    },
                .applied = [this]() { return answers_ ? std::optional<BatchId>(applied_) : std::nullopt; }}),
      changes_(loop_, clock_, static_cast<size_t>(record_.spec.state_partitions), {}),
      views_(loop_, clock_, coordinator_, record_.spec.version, view_hooks(), {}) {}

JobController::~JobController() = default;

void JobController::send(ProcessId to, wire::Body body, BatchId batch) {
  wire::Envelope envelope;
  envelope.header.job = signed_of(job_);
  envelope.header.incarnation = record_.incarnation;
  envelope.header.epoch = epoch_.value();
  envelope.header.generation = assignment_.number.value();
  envelope.header.batch = batch.value();
  envelope.body = std::move(body);
  host_.send(to, std::move(envelope));
}

void JobController::send_to_assigned(const wire::Body& body, BatchId batch) {
  for (const auto& [process, member] : members_) {
    if (member.assigned) send(process, body, batch);
  }
}

Member* JobController::find_member(ProcessId process) {
  const auto found = members_.find(process);
  return found == members_.end() ? nullptr : &found->second;
}

void JobController::on_message(ProcessId from, wire::Envelope envelope) {
  const LogContext context(record_.spec.name, BatchId(envelope.header.batch));
  if (find_member(from) == nullptr || ledger_ == nullptr || !needs_executors()) return;
  const wire::Body& body = envelope.body;
  const BatchId batch(envelope.header.batch);
  if (body.__isset.fetched) return on_fetched(from, envelope);
  if (body.__isset.map_done) return on_map_done(from, envelope);
  if (body.__isset.applied) return on_applied(from, body.applied);
  if (body.__isset.round_changes) return on_round_changes(from, batch, std::move(envelope.body.round_changes));
  if (body.__isset.published) return on_published(from, batch, body.published);
  if (body.__isset.round_ended) return on_round_ended(batch, body.round_ended.lost);
  if (body.__isset.checkpointed) {
    profiles_.froze(batch, find_member(from)->worker_name, body.checkpointed.lanes);
    return coordinator_.on_report(from, batch, body.checkpointed);
  }
  if (body.__isset.view_reply) return views_.on_reply(from, body.view_reply);
  if (body.__isset.query_reply) return queries_.on_reply(from, body.query_reply);
  if (body.__isset.trouble) return on_trouble(from, body.trouble);
  if (body.__isset.restore_failed) {
    return on_restore_failed(from, Generation(envelope.header.generation), body.restore_failed);
  }
  if (body.__isset.fenced_out) return on_fenced_out(from, batch, body.fenced_out);
}

bool JobController::is_current(ProcessId from, int32_t partition, int64_t generation) const {
  const auto index = static_cast<size_t>(partition);
  return index < states_.size() && assignment_.states[index].process == from &&
         assignment_.states[index].generation.value() == generation;
}

// --- cutting -------------------------------------------------------------------------------------------------------

void JobController::schedule_tick() {
  if (ticking_) return;
  ticking_ = true;
  const MonotonicTime now = clock_.now();
  const Duration interval = std::chrono::microseconds(record_.spec.batch_interval_us);
  next_tick_ = batch_clock_ ? now + batch_clock_->until_tick(now) : std::max(next_tick_ + interval, now);
  loop_.schedule(next_tick_ - now, lifetime_.guard([this] {
    const LogContext context(record_.spec.name, BatchId(0));
    ticking_ = false;
    tick();
  }));
}

void JobController::tick() {
  if (!needs_executors()) return;
  cut_missed_ = !may_cut();
  tick_due_ = needs_time();
  if (deaths_.any()) deaths_.tell(progress());
  try_cut();
  check_stopped();
  schedule_tick();
}

bool JobController::may_cut() const {
  if (!assigned_once_ || assigning_ || recommitting_ || members_.empty()) return false;
  return ledger_->newest().value() - slowest_applied().value() < options_.max_in_flight;
}

bool JobController::wants_publication() const {
  if (round_.has_value() || restoring() || claiming_ || purging_) return false;
  return force_round_ || last_changed_ > published_ ||
         (phase_ == Phase::kRunning && clock_.now() - last_round_ >= options_.idle_round);
}

// True if the next batch shall end with a checkpoint.
bool JobController::may_checkpoint() const {
  const Duration interval = std::chrono::microseconds(record_.spec.checkpoint_interval_us);
  // However long the interval is, the batches that follow a checkpoint must not come to their bound.
  const bool many = ledger_->newest().value() - coordinator_.newest_batch().value() >= options_.max_uncheckpointed / 4;
  const Duration waited = clock_.now() - last_checkpoint_;
  const bool due = waited >= interval || (many && waited >= std::chrono::seconds(1)) || checkpoint_wanted_ ||
                   phase_ == Phase::kStopping;
  return due && wants_checkpoint() && !coordinator_.open() && !restoring();
}

bool JobController::wants_checkpoint() const {
  // Empty batches count too when there are many, so that the batch log of an idle job does not grow for ever.
  const int64_t many_empty_batches = options_.max_uncheckpointed / 20;
  // One of a former version is there to go back to; nothing of this one is kept yet.
  return last_changed_ > coordinator_.newest_batch() || coordinator_.newest_is_former(record_.spec.version) ||
         ledger_->newest().value() - coordinator_.newest_batch().value() > many_empty_batches;
}

// A stopping job's time stands still. Where no checkpoint becomes complete, ticks without records leave the bound of
// the batches that follow it to those that have some.
bool JobController::wants_tick() const {
  const int64_t uncheckpointed = ledger_->newest().value() - coordinator_.newest_batch().value();
  return tick_due_ && phase_ == Phase::kRunning && uncheckpointed < options_.max_uncheckpointed / 2;
}

void JobController::try_cut() {
  if (!may_cut()) return;
  // At the bound only a batch that may end it: an empty one with a checkpoint, and no next one while that is open.
  const bool full = ledger_->newest().value() - coordinator_.newest_batch().value() >= options_.max_uncheckpointed;
  const bool records = !full && phase_ == Phase::kRunning && cutter_.has_records();
  if (records || wants_tick() || (!full && wants_publication()) || may_checkpoint()) cut(records);
}

void JobController::cut(bool take_records) {
  wire::BatchRecord record;
  record.batch = ledger_->newest().value() + 1;
  record.epoch = epoch_.value();
  if (batch_clock_) {
    record.tick = std::exchange(tick_due_, false) && phase_ == Phase::kRunning;
    record.time_ms = batch_clock_->take(record.tick, clock_.now());
  } else {
    recorded_times_.time_ms = std::max(recorded_times_.time_ms, clock_.wall_now().unix_ms);
    record.time_ms = recorded_times_.time_ms;
  }
  record.topic_id = record_.spec.topic_id;
  record.job_version = record_.spec.version;
  int64_t bytes = 0;
  if (take_records) {
    const int64_t most = std::max<int64_t>(1, record_.spec.max_batch_records);
    for (const CutRange& range : cutter_.cut(most)) {
      wire::PlannedRange planned;
      planned.partition = range.partition.value();
      planned.from_offset = range.range.from.value();
      planned.to_offset = range.range.to.value();
      planned.records = range.records;
      planned.mapper = static_cast<int64_t>(assignment_.logs.at(range.partition).value());
      record.ranges.push_back(planned);
      bytes += range.bytes;
    }
    if (!record.ranges.empty()) last_changed_ = BatchId(record.batch);
  }
  record.watermark_ms = take_watermark(record.time_ms);

  const BatchId id(record.batch);
  profiles_.cut(record, bytes, clock_.now());
  Ledger::Batch& batch = ledger_->add(std::move(record), false);
  batch.checkpoint = may_checkpoint();
  batch.publish = wants_publication();
  batch.rank = batch.publish || clock_.now() - last_rank_ >= options_.rank_interval;
  if (batch.rank) last_rank_ = clock_.now();
  if (batch.checkpoint) begin_checkpoint(batch);
  if (batch.publish) {
    force_round_ = false;
    Round round{id, {}, offsets_after(id), std::nullopt, false};
    for (size_t i = 0; i < states_.size(); ++i) round.waiting.insert(StatePartition(static_cast<int32_t>(i)));
    round_ = std::move(round);
  }

  wire::RunBatch plan = plan_of(batch.record);
  plan.checkpoint = batch.checkpoint;
  plan.publish = batch.publish;
  plan.keep_changes = batch.publish && changes_.wanted();
  plan.rank = batch.rank;
  wire::Body body;
  body.__set_run_batch(plan);
  send_to_assigned(body, id);
  commit_batch(id);
}

void JobController::commit_batch(BatchId id) {
  WriteSet set;
  JobStore::put_batch(set, job_, ledger_->find(id)->record);
  store_.commit(std::move(set), lifetime_.guard([this, id](Status status) {
    if (status.has_value()) {
      on_durable(id);
      return;
    }
    if (!recommitting_) {
      LOG(ERROR) << "job " << record_.spec.name << ": batch " << id << " is not durable: " << status.error().message;
    }
    recommit_later(status.error().message);
  }));
}

void JobController::recommit_later(const std::string& trouble) {
  store_trouble_ = trouble;
  if (recommitting_) return;
  recommitting_ = true;
  loop_.schedule(options_.retry, lifetime_.guard([this] { recommit(); }));
}

// After a failed commit: everything that is not durable, in one set, until it is. Totals are not among it: a master
// that misses them asks for the results again.
void JobController::recommit() {
  WriteSet set = unsaved_letters_;
  for (const Ledger::Batch& batch : ledger_->batches()) {
    if (!batch.durable) JobStore::put_batch(set, job_, batch.record);
  }
  const BatchId newest = ledger_->newest();
  store_.commit(std::move(set), lifetime_.guard([this, newest](Status status) {
    if (!status.has_value()) {
      store_trouble_ = status.error().message;
      loop_.schedule(options_.retry, lifetime_.guard([this] { recommit(); }));
      return;
    }
    recommitting_ = false;
    unsaved_letters_ = {};
    store_trouble_.clear();
    for (BatchId id = ledger_->newest_durable().next(); id <= newest; id = id.next()) on_durable(id);
  }));
}

void JobController::on_durable(BatchId id) {
  const Ledger::Batch* batch = ledger_->find(id);
  if (batch == nullptr || batch->durable) return;
  ledger_->note_durable(id);
  profiles_.durable(id, clock_.now());
  send_progress();
  store_totals(ledger_->advance_totals());
  advance_round();
}

void JobController::send_progress() {
  wire::Progress progress;
  progress.durable = ledger_->newest_durable().value();
  progress.applied = applied_.value();
  progress.checkpointed = coordinator_.newest_batch().value();
  progress.published = published_.value();
  wire::Body body;
  body.__set_progress(progress);
  send_to_assigned(body);
}

// --- what executors report -------------------------------------------------------------------------------------------

void JobController::on_fetched(ProcessId from, const wire::Envelope& envelope) {
  for (const wire::FetchedPartition& fetched : envelope.body.fetched.partitions) {
    const LogPartition partition(fetched.partition);
    const auto owner = assignment_.logs.find(partition);
    if (owner == assignment_.logs.end() || owner->second != from) continue;
    if (envelope.header.generation < log_since_[partition].value()) continue;
    cutter_.announce(partition, Offset(fetched.reader_from), Offset(fetched.to_offset), fetched.records, fetched.bytes);
    cut_missed_ = cut_missed_ || reader_fills_up(from, partition);
  }
  if (cut_missed_ && may_cut()) {
    cut_missed_ = false;
    try_cut();
  }
}

// A reader stops when its read-ahead is full, and goes on as batches are mapped. So that it need not stop, a batch is
// cut before its time when half of that is read.
bool JobController::reader_fills_up(ProcessId owner, LogPartition partition) const {
  const auto member = members_.find(owner);
  if (member == members_.end()) return false;
  const int64_t lanes = std::max(member->second.lanes, 1);
  const int64_t logs = std::ranges::count_if(assignment_.logs, [&](const auto& log) { return log.second == owner; });
  const int64_t logs_of_lane = std::max<int64_t>(1, (logs + lanes - 1) / lanes);
  return cutter_.waiting_bytes(partition) >= record_.spec.lane_memory_bytes / logs_of_lane / 2;
}

void JobController::on_map_done(ProcessId from, const wire::Envelope& envelope) {
  const BatchId batch(envelope.header.batch);
  WriteSet letters;
  std::string problem;
  for (const wire::MapResult& result : envelope.body.map_done.results) {
    profiles_.mapped(batch, find_member(from)->worker_name, topics_.place(LogPartition(result.partition)), result,
                     clock_.now());
    const Result<bool> is_first = ledger_->note_result(batch, result);
    if (!is_first.has_value()) {
      problem = is_first.error().message;
      break;
    }
    if (!*is_first) continue;
    for (const wire::DeadLetter& letter : result.letters) {
      if (letters_++ < options_.max_letters) JobStore::put_letter(letters, job_, letter);
    }
    if (!result.letters.empty() && record_.spec.fail_on_bad_record && problem.empty()) {
      const wire::DeadLetter& first = result.letters.front();
      problem = "record at partition " + std::to_string(first.partition) + ", offset " + std::to_string(first.offset) +
                ": " + first.reason +
                "; kill the job and submit it with --on-bad-record=dead-letter to set such records aside";
    }
  }
  if (!letters.empty()) {
    store_.commit(letters, lifetime_.guard([this, letters](Status status) {
      if (status.has_value()) return;
      for (const WriteSet::Write& write : letters.writes()) unsaved_letters_.put(write.key, *write.value);
      recommit_later(status.error().message);
    }));
  }
  store_totals(ledger_->advance_totals());
  // After the letters, so that they show which record it was.
  if (!problem.empty()) return fail_job(problem);
  advance_round();
}

void JobController::store_totals(const std::vector<wire::BatchTotals>& advanced) {
  if (advanced.empty()) return;
  WriteSet set;
  for (const wire::BatchTotals& totals : advanced) {
    JobStore::put_totals(set, job_, totals);
    tell_watermark(totals);
    if (round_.has_value() && round_->batch.value() == totals.batch) round_->totals = totals;
  }
  coordinator_.on_totals();
  // If this is lost the ranges are asked for their results again.
  store_.commit(std::move(set), lifetime_.guard([this](Status status) {
    if (!status.has_value()) recommit_later(status.error().message);
  }));
}

void JobController::on_applied(ProcessId from, const wire::Applied& applied) {
  Member* member = find_member(from);
  member->keys = applied.keys;
  member->memory_bytes = applied.memory_bytes;
  for (const wire::LaneTimes& times : applied.times) profiles_.reduced(member->worker_name, times, clock_.now());
  bool reload = false;
  for (const wire::OwnedPartition& report : applied.partitions) {
    if (!is_current(from, report)) continue;
    StatePartitionStatus& state = states_[static_cast<size_t>(report.partition)];
    state.loaded = true;
    if (newest_begun(report) > ledger_->newest_durable()) {
      LOG(WARNING) << "job " << record_.spec.name << ": state partition " << report.partition << " has begun a batch "
                   << "beyond " << ledger_->newest_durable() << ", where the batch log ends";
      reload_.push_back(StatePartition(report.partition));
      reload = true;
      continue;
    }
    state.applied = std::max(state.applied, BatchId(report.applied));
    if (state.restoring && state.applied >= state.target) state.restoring = false;
  }
  const BatchId changed = std::min(BatchId(applied.changed), ledger_->newest_durable());
  const bool changed_by_time = needs_time() && changed > last_changed_;
  if (changed_by_time) last_changed_ = changed;
  advance_applied();
  if (!replays_.empty()) issue_replays();
  if (reload || !restoring()) evaluate_assignment();
  // What time alone has changed is published at once: the batch that did it was cut before anybody knew.
  if ((cut_missed_ || (changed_by_time && wants_publication())) && may_cut()) {
    cut_missed_ = false;
    try_cut();
  }
  check_stopped();
}

BatchId JobController::slowest_applied() const {
  BatchId slowest = ledger_->newest();
  for (const StatePartitionStatus& state : states_) slowest = std::min(slowest, state.applied);
  return slowest;
}

bool JobController::restoring() const {
  for (size_t i = 0; i < states_.size(); ++i) {
    if (states_[i].restoring && assignment_.states[i].process != kNoProcess) return true;
  }
  return false;
}

void JobController::advance_applied() {
  // A complete checkpoint proves that all have applied its batch, although some report of it may be on its way, or lost
  // with its sender; and whoever restores it can answer for no earlier one.
  const BatchId slowest = std::max(slowest_applied(), coordinator_.newest_batch());
  if (!answers_) {
    if (slowest < restart_floor_) return;
    answers_ = true;
    applied_ = slowest;
  } else if (slowest <= applied_) {
    return;
  }
  applied_ = slowest;
  profiles_.applied(applied_, clock_.now());
  send_progress();
  queries_.on_applied();
}

// What the executor did not load of the partitions that it had when it said so: by another assignment, from what is the
// newest checkpoint by then.
void JobController::load_again(ProcessId owner, Generation told) {
  for (size_t i = 0; i < states_.size(); ++i) {
    const StateOwnership& state = assignment_.states[i];
    if (state.process != owner || state.generation > told || states_[i].loaded) continue;
    reload_.push_back(StatePartition(static_cast<int32_t>(i)));
  }
  evaluate_assignment();
}

// The newest checkpoint cannot be read: the one before is taken, and everybody loads from there who must load.
void JobController::on_restore_failed(ProcessId from, Generation told, const wire::RestoreFailed& failure) {
  if (assigning_ || coordinator_.is_final()) {
    // Who owns what, and which checkpoint is the newest, is decided in a moment.
    loop_.schedule(options_.retry, lifetime_.guard([this, from, told, failure] {
      if (needs_executors()) on_restore_failed(from, told, failure);
    }));
    return;
  }
  LOG(ERROR) << "job " << record_.spec.name << ": checkpoint file " << failure.file << " is refused by executor "
             << to_string(from) << ": " << failure.reason;
  const KeptCheckpoint* newest = coordinator_.newest();
  if (newest == nullptr) return load_again(from, told);
  const auto& files = newest->manifest.files;
  const bool of_newest = std::any_of(files.begin(), files.end(),
                                     [&](const wire::CheckpointFile& file) { return file.name == failure.file; });
  if (!of_newest) return load_again(from, told);
  coordinator_.give_up("its base is damaged");
  if (!coordinator_.drop_newest() && ledger_->first() != BatchId(1)) {
    return fail_job("checkpoint file " + failure.file + " is damaged (" + failure.reason +
                    ") and there is no checkpoint before it; restore the file and resume the job");
  }
  // Everybody, because the survivors' lists of changed keys begin at the checkpoint that is given up.
  reload_.clear();
  for (size_t i = 0; i < states_.size(); ++i) reload_.push_back(StatePartition(static_cast<int32_t>(i)));
  record_.checkpoints.pop_back();
  save_record([](Status) {});
  evaluate_assignment();
}

}  // namespace millrace
