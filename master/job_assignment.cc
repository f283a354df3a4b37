// JobController: owners change: deciding when, telling it, and sending again what the new owners lack.

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/log_context.h"
#include "master/job_controller.h"

namespace millrace {
namespace {

// Of one Replay, so that it stays far below what is decoded: with many partitions, one message held millions.
constexpr size_t kMaxReplayElements = 50'000;

std::vector<wire::LogOwner> log_owners(const Assignment& assignment) {
  std::vector<wire::LogOwner> owners;
  for (const auto& [partition, process] : assignment.logs) {
    wire::LogOwner owner;
    owner.partition = partition.value();
    owner.process = signed_of(process);
    owners.push_back(owner);
  }
  return owners;
}

std::vector<wire::StateOwner> state_owners(const Assignment& assignment) {
  std::vector<wire::StateOwner> owners;
  for (const StateOwnership& state : assignment.states) {
    wire::StateOwner owner;
    owner.partition = static_cast<int32_t>(owners.size());
    owner.process = signed_of(state.process);
    owner.generation = state.generation.value();
    owners.push_back(owner);
  }
  return owners;
}

}  // namespace

std::vector<Candidate> JobController::candidates() const {
  std::vector<Candidate> found;
  for (const auto& [process, member] : members_) {
    if (!member.draining) found.push_back({process, member.lanes});
  }
  return found;
}

// A partition whose owner is not there, or whose owner's state cannot be used.
bool JobController::has_orphans() const {
  const auto present = [this](ProcessId process) { return members_.contains(process); };
  const bool states = std::any_of(assignment_.states.begin(), assignment_.states.end(),
                                  [&](const StateOwnership& state) { return !present(state.process); });
  const bool logs = std::any_of(assignment_.logs.begin(), assignment_.logs.end(),
                                [&](const auto& log) { return !present(log.second); });
  return states || logs || !reload_.empty();
}

// A draining executor that still owns something.
bool JobController::has_leavers() const {
  const auto leaving = [this](ProcessId process) {
    const auto member = members_.find(process);
    return member != members_.end() && member->second.draining;
  };
  const bool states = std::any_of(assignment_.states.begin(), assignment_.states.end(),
                                  [&](const StateOwnership& state) { return leaving(state.process); });
  return states || std::any_of(assignment_.logs.begin(), assignment_.logs.end(),
                               [&](const auto& log) { return leaving(log.second); });
}

// At the beginning, and when everybody is gone, it pays to wait a little for those that are about to come. As long as
// somebody is at work, nobody waits.
bool JobController::must_wait_for_executors() {
  const bool somebody_works =
      std::any_of(members_.begin(), members_.end(), [](const auto& entry) { return entry.second.assigned; });
  if (somebody_works || clock_.now() >= hold_until_) return false;
  const auto back = [this](ProcessId process) { return process == kNoProcess || members_.contains(process); };
  const bool all_back = assigned_once_ || std::all_of(assignment_.states.begin(), assignment_.states.end(),
                                                      [&](const StateOwnership& state) { return back(state.process); });
  if (all_back && !members_.empty() && !host_.expects_executors(job_)) return false;
  evaluate_later();
  return true;
}

void JobController::evaluate_later() {
  if (evaluating_later_) return;
  evaluating_later_ = true;
  const Duration delay = std::max<Duration>(hold_until_ - clock_.now(), std::chrono::milliseconds(1));
  loop_.schedule(delay, lifetime_.guard([this] {
    evaluating_later_ = false;
    evaluate_assignment();
  }));
}

void JobController::evaluate_assignment() {
  if (assigning_ || !needs_executors() || ledger_ == nullptr) return;
  const std::vector<Candidate> able = candidates();
  release_leavers();
  const bool first_of_epoch = !assigned_once_;
  if (has_orphans() || first_of_epoch) {
    if (able.empty() || must_wait_for_executors()) return;
    begin_assignment(first_of_epoch);
    return;
  }
  if (able.empty() || (!has_leavers() && !is_unbalanced(assignment_, able))) return;
  if (host_.expects_executors(job_) && clock_.now() < hold_until_) return evaluate_later();
  // Moving is cheap right after a checkpoint: the new owner has little to replay. Who leaves does not wait for one that
  // fails; who joins does, and lets it be tried at its interval only.
  const bool now = handover_ready_ || (checkpoints_fail_ && has_leavers());
  if (!now && wants_checkpoint()) {
    checkpoint_wanted_ = !checkpoints_fail_;
    return;
  }
  if (!now && coordinator_.open()) return;
  begin_assignment(true);
}

// Level blocks are not kept, so what one partition lacks that begins anew only all together can make again: in a job
// with levels all state partitions have one generation, and began with it at one checkpoint.
bool JobController::must_renew_states(const Assignment& next) const {
  if (!has_levels()) return false;
  const bool as_they_were = assigned_once_ || std::ranges::all_of(states_, &StatePartitionStatus::returned);
  return !as_they_were || next.states != assignment_.states;
}

void JobController::begin_assignment(bool balance) {
  assigning_ = true;
  handover_ready_ = false;
  std::vector<StatePartition> reload = std::exchange(reload_, {});
  Assignment next = spread(assignment_, candidates(), balance, reload);
  if (must_renew_states(next)) {
    LOG(INFO) << "job " << record_.spec.name << ": all state partitions are loaded from the newest checkpoint";
    renew_states(next);
  }
  for (StatePartition partition : reload) {
    LOG(WARNING) << "job " << record_.spec.name << ": state partition " << partition << " is loaded again";
  }

  wire::AssignmentRecord record;
  record.generation = next.number.value();
  record.rank_owner = signed_of(next.rank_owner);
  record.logs = log_owners(next);
  record.states = state_owners(next);
  WriteSet set;
  JobStore::put_assignment(set, job_, record);
  auto done = [this, next = std::move(next), reload = std::move(reload), balance](Status status) mutable {
    const LogContext context(record_.spec.name, ledger_->newest());
    if (status.has_value()) {
      store_trouble_.clear();
      apply_assignment(std::move(next));
      return;
    }
    store_trouble_ = status.error().message;
    reload_.insert(reload_.end(), reload.begin(), reload.end());
    loop_.schedule(options_.retry, lifetime_.guard([this, balance] {
      // What was decided may be out of date by now; nobody was told.
      begin_assignment(balance);
    }));
  };
  store_.commit(std::move(set), lifetime_.guard(std::move(done)));
}

// Partitions whose generation is new to this assignment begin again at the newest checkpoint.
void JobController::mark_moved_partitions(const Assignment& next) {
  const BatchId restored = coordinator_.newest_batch();
  for (size_t i = 0; i < states_.size(); ++i) {
    if (next.states[i].generation == next.number || next.states[i].process == kNoProcess) {
      events_.partitions_loaded += next.states[i].process == kNoProcess ? 0 : 1;
      states_[i] = {restored, true, ledger_->newest()};
    }
  }
  // In a first assignment nobody is known to have been sent anything.
  if (assigned_once_) return;
  for (StatePartitionStatus& state : states_) {
    state.restoring = true;
    state.target = ledger_->newest();
  }
}

void JobController::apply_assignment(Assignment next) {
  coordinator_.on_reassignment("owners change");
  round_.reset();
  force_round_ = true;
  for (const auto& [partition, process] : next.logs) {
    const auto before = assignment_.logs.find(partition);
    const bool moved = before == assignment_.logs.end() || before->second != process;
    if (!moved && assigned_once_) continue;
    cutter_.restart_reader(partition);
    log_since_[partition] = next.number;
  }
  mark_moved_partitions(next);
  // The log may have grown since this was decided; what came has no owner yet.
  for (const auto& [partition, process] : assignment_.logs) next.logs.try_emplace(partition, kNoProcess);
  assignment_ = std::move(next);
  assigned_once_ = true;
  ++events_.assignments;
  LOG(INFO) << "job " << record_.spec.name << ": assignment " << assignment_.number << " to " << candidates().size()
            << " executors, restoring from batch " << coordinator_.newest_batch() << " to " << ledger_->newest();
  for (auto& [process, member] : members_) {
    send_assign(member);
    member.assigned = true;
  }
  send_progress();
  for (const auto& [process, member] : members_) send_replayed_plans(member);
  plan_replays();
  assigning_ = false;
  queries_.on_reassigned();
  views_.on_reassigned();
  schedule_tick();
  evaluate_assignment();
  check_stopped();
}

void JobController::send_assign(const Member& to) {
  wire::Assign assign;
  assign.logs = log_owners(assignment_);
  for (wire::LogOwner& owner : assign.logs) {
    owner.read_from = cutter_.next_offset(LogPartition(owner.partition)).value();
  }
  assign.states = state_owners(assignment_);
  for (const auto& [process, member] : members_) {
    wire::Peer peer;
    peer.process = signed_of(process);
    peer.endpoint = member.endpoint.address;
    assign.peers.push_back(peer);
  }
  assign.rank_owner = signed_of(assignment_.rank_owner);
  assign.durable = ledger_->newest_durable().value();
  assign.applied = (answers_ ? applied_ : restart_floor_).value();
  assign.published = published_.value();
  assign.checkpoint = coordinator_.newest_batch().value();
  if (coordinator_.newest() != nullptr) {
    assign.checkpoint_tick_ms = coordinator_.newest()->manifest.tick_ms;
    assign.checkpoint_version = coordinator_.newest()->manifest.job_version;
    assign.checkpoint_states = coordinator_.newest()->manifest.states;
    for (const wire::CheckpointFile& file : coordinator_.newest()->manifest.files) {
      if (!file.name.empty()) assign.files.push_back(file);
    }
  }
  wire::Body body;
  body.__set_assign(assign);
  send(to.process, body);
}

// The plans of batches that the executor's restoring partitions have to go through again.
void JobController::send_replayed_plans(const Member& member) {
  BatchId oldest = ledger_->newest();
  for (size_t i = 0; i < states_.size(); ++i) {
    if (assignment_.states[i].process == member.process && states_[i].restoring) {
      oldest = std::min(oldest, states_[i].applied);
    }
  }
  for (const Ledger::Batch& batch : ledger_->batches()) {
    if (BatchId(batch.record.batch) <= oldest) continue;
    wire::RunBatch plan = plan_of(batch.record);
    plan.replay = true;
    wire::Body body;
    body.__set_run_batch(plan);
    send(member.process, body, BatchId(batch.record.batch));
  }
}

void JobController::plan_replays() {
  RecoveryFacts facts;
  facts.assignment = &assignment_;
  for (const auto& [process, member] : members_) facts.alive.push_back(process);
  for (size_t i = 0; i < states_.size(); ++i) {
    // Nobody owns it: it is planned when somebody does.
    if (assignment_.states[i].process == kNoProcess) continue;
    facts.states.push_back({StatePartition(static_cast<int32_t>(i)), states_[i].applied, states_[i].restoring});
  }
  for (const Ledger::Batch& batch : ledger_->batches()) {
    BatchFacts entry{BatchId(batch.record.batch), {}};
    for (const Ledger::Range& range : batch.ranges) entry.ranges.push_back(range.facts);
    facts.batches.push_back(std::move(entry));
  }
  const std::vector<RecoveryTask> tasks = plan_recovery(facts);
  replays_.assign(tasks.begin(), tasks.end());
  for (StatePartitionStatus& state : states_) state.restoring = state.restoring && state.applied < state.target;
  issue_replays();
}

void JobController::issue_replays() {
  const BatchId limit(slowest_applied().value() + options_.replay_window);
  struct Part {
    wire::Replay replay;
    size_t elements = 0;
  };
  std::map<ProcessId, Part> by_mapper;
  const auto send_part = [this](ProcessId mapper, const Part& part) {
    wire::Body body;
    body.__set_replay(part.replay);
    send(mapper, body);
  };
  while (!replays_.empty() && replays_.front().batch <= limit) {
    const RecoveryTask& task = replays_.front();
    Ledger::Batch* batch = ledger_->find(task.batch);
    if (batch == nullptr) {  // two checkpoints since: everybody has applied it
      replays_.pop_front();
      continue;
    }
    wire::ReplayTask entry;
    entry.batch = task.batch.value();
    entry.time_ms = batch->record.time_ms;
    entry.watermark_ms = batch->record.watermark_ms;
    entry.range.partition = task.range.partition.value();
    entry.range.from_offset = task.range.range.from.value();
    entry.range.to_offset = task.range.range.to.value();
    entry.range.records = task.range.records;
    entry.range.mapper = signed_of(task.mapper);
    for (StatePartition partition : task.partitions) entry.partitions.push_back(partition.value());
    // Only now somebody is told: a task that is planned and not sent dies with the next plan.
    for (Ledger::Range& range : batch->ranges) {
      if (range.facts.partition == task.range.partition) range.facts.mapper = task.mapper;
    }
    Part& part = by_mapper[task.mapper];
    part.elements += 1 + entry.partitions.size();
    part.replay.tasks.push_back(std::move(entry));
    if (part.elements >= kMaxReplayElements) send_part(task.mapper, std::exchange(part, {}));
    replays_.pop_front();
  }
  for (const auto& [mapper, part] : by_mapper) {
    if (!part.replay.tasks.empty()) send_part(mapper, part);
  }
}

// Its result is missing, or what it sent may not have arrived.
bool JobController::is_mapping(ProcessId process) const {
  const BatchId arrived = slowest_applied();
  for (const Ledger::Batch& batch : ledger_->batches()) {
    const bool on_its_way = BatchId(batch.record.batch) > arrived;
    for (const Ledger::Range& range : batch.ranges) {
      if (range.facts.mapper == process && (on_its_way || !range.facts.result_known)) return true;
    }
  }
  return false;
}

void JobController::release_leavers() {
  // Where all leave, nobody waits for somebody to take over: the checkpoint and the batch log have everything.
  const bool nobody_stays = candidates().empty() && !host_.expects_executors(job_);
  bool gave_up = false;
  std::vector<ProcessId> free;
  for (const auto& [process, member] : members_) {
    if (!member.draining) continue;
    const bool owns_state = std::any_of(assignment_.states.begin(), assignment_.states.end(),
                                        [&](const StateOwnership& state) { return state.process == process; });
    const bool owns_log = std::any_of(assignment_.logs.begin(), assignment_.logs.end(),
                                      [&](const auto& log) { return log.second == process; });
    // Its kept blocks help the others to catch up, so it stays until they have; and it maps what it was told to map.
    const bool handed_over = !owns_state && !owns_log && !restoring() && !is_mapping(process);
    if (!handed_over && !nobody_stays) continue;
    free.push_back(process);
    gave_up = gave_up || !handed_over;
  }
  if (gave_up) {
    coordinator_.on_reassignment("all executors leave");
    hold_until_ = clock_.now() + options_.settle;
  }
  for (ProcessId process : free) {
    members_.erase(process);
    host_.release_executor(job_, process, gave_up ? "all leave" : "it has handed over what it held");
  }
}

// At the beginning of an epoch: what an executor brings back is good if it owned it by the last assignment and the
// batch log has all that follows. A partition that has gone beyond it is loaded again, and so is one from before its
// begin: it was held up while the first checkpoint became complete.
void JobController::credit_owned(const Member& member) {
  for (const wire::OwnedPartition& owned : member.owned) {
    const auto index = static_cast<size_t>(owned.partition);
    if (index >= states_.size()) continue;
    const StateOwnership& owner = assignment_.states[index];
    if (owner.process != member.process || owner.generation.value() != owned.generation) continue;
    const BatchId applied(owned.applied);
    if (newest_begun(owned) > ledger_->newest_durable() || applied < coordinator_.oldest_batch()) {
      reload_.push_back(StatePartition(owned.partition));
    } else {
      states_[index].applied = applied;
      states_[index].returned = true;
    }
  }
}

void JobController::add_executor(Member member) {
  const LogContext context(record_.spec.name, BatchId(0));
  if (!needs_executors() && phase_ != Phase::kLoading) {
    host_.release_executor(job_, member.process, "the job does not run");
    return;
  }
  if (assigned_once_ && member.was_assigned) {
    // The others were told to forget it, and do not talk to it any more.
    host_.release_executor(job_, member.process, "it returned too late; it is started anew");
    return;
  }
  const ProcessId process = member.process;
  members_[process] = std::move(member);
  LOG(INFO) << "job " << record_.spec.name << ": executor " << to_string(process) << " on "
            << members_[process].worker_name << " is ready";
  if (assigned_once_) {
    hold_until_ = clock_.now() + options_.settle;
  } else if (ledger_ != nullptr) {
    credit_owned(members_[process]);
  }
  evaluate_assignment();
}

void JobController::remove_executor(ProcessId process, const std::string& reason, bool ended_by_itself) {
  if (!members_.contains(process)) return;
  const LogContext context(record_.spec.name, ledger_ == nullptr ? BatchId(0) : ledger_->newest());
  if (ended_by_itself && ledger_ != nullptr) deaths_.lost(process, work_of(process), progress());
  members_.erase(process);
  ++events_.executors_lost;
  LOG(WARNING) << "job " << record_.spec.name << ": executor " << to_string(process) << " is lost (" << reason
               << ") at batch " << (ledger_ ? ledger_->newest() : BatchId(0)) << ", applied " << applied_;
  if (ledger_ == nullptr) return;
  coordinator_.on_reassignment("an executor was lost");
  views_.on_reassigned();
  if (members_.empty()) hold_until_ = clock_.now() + options_.settle;
  evaluate_assignment();
  // One that owned nothing any more was still asked for blocks: where owners stay as they are, others are asked.
  if (assigned_once_ && !assigning_ && needs_executors()) plan_replays();
}

void JobController::drain_executor(ProcessId process) {
  Member* member = find_member(process);
  if (member == nullptr || member->draining) return;
  member->draining = true;
  evaluate_assignment();
}

}  // namespace millrace
