#include "worker/lane_reducer.h"

#include <algorithm>

#include "common/base/check.h"

namespace millrace {
namespace {

constexpr size_t kRestoredEntriesPerStep = 20'000;

}  // namespace

LaneReducer::Slot* LaneReducer::find_slot(const OwnedState& state) {
  const auto slot = slots_.find(state.partition);
  return slot != slots_.end() && slot->second.generation == state.generation ? &slot->second : nullptr;
}

// --- assignment and plans ----------------------------------------------------------------------------------------

void LaneReducer::assign(const LaneAssignment& assignment) {
  stamp_ = assignment.stamp;
  if (assignment.new_epoch) enter_epoch(assignment.durable);
  assign_slots(assignment);
  // What is restored has no values of before its checkpoint.
  const BatchId applied = std::max(assignment.applied, assignment.checkpoint);
  progress({assignment.durable, applied, assignment.checkpoint, assignment.published});
  for (const auto& [partition, slot] : slots_) {
    if (!slot.restoring) newly_applied_.push_back(progress_of(partition, slot));
  }
  report_applied();
  answer_waiting();
  deps_.wake();
}

// What another epoch planned beyond the durable batches never was; its open checkpoint and its flags are void. So are
// plans that are not known to have become durable: a master that nothing was heard of may have planned those batches
// anew. All that were durable are told again.
void LaneReducer::enter_epoch(BatchId durable) {
  plans_.erase(plans_.upper_bound(std::min(durable, watermarks_.durable)), plans_.end());
  for (auto& [partition, slot] : slots_) {
    slot.queue.forget_beyond(durable);
    slot.is_void = slot.is_void || slot.queue.taken() > durable;
  }
  times_.erase(times_.upper_bound(durable), times_.end());
  inbox_.forget_beyond(durable);
  for (RankGather& rank : ranks_) rank.forget_beyond(durable);
  watermarks_.durable = durable;
  newest_plan_ = durable;
  abandoned_ = durable;
}

void LaneReducer::assign_slots(const LaneAssignment& assignment) {
  std::map<StatePartition, Generation> owned;
  for (const OwnedState& state : assignment.states) owned[state.partition] = state.generation;
  std::erase_if(slots_, [&owned](const auto& entry) {
    const auto kept = owned.find(entry.first);
    return kept == owned.end() || kept->second != entry.second.generation;
  });
  for (const auto& [partition, generation] : owned) {
    if (slots_.contains(partition)) continue;
    Slot slot{.generation = generation,
              .table = deps_.job.make_state_table(),
              .queue = ReduceQueue(assignment.checkpoint),
              .applied = assignment.checkpoint};
    slot.table->count_steps(deps_.activity.steps());
    slot.checkpoint_tick_ms = assignment.checkpoint_tick_ms;
    if (assignment.former_states != nullptr) {
      const Status possible = slot.table->restore_from(*assignment.former_states);
      if (!possible) deps_.handler.on_failed(possible.error());
    }
    // A key that was removed between the last publication and the checkpoint has left no trace in it.
    slot.publish_all = assignment.published == BatchId(0) ||
                       (deps_.job.removes_keys() && assignment.checkpoint > assignment.published);
    slots_.emplace(partition, std::move(slot));
  }
  owned_.clear();
  for (const auto& [partition, slot] : slots_) owned_.insert(partition);
  // In a job with levels all have the same one.
  const Generation generation = slots_.empty() ? inbox_.generation() : slots_.begin()->second.generation;
  if (generation != inbox_.generation()) inbox_.restart(generation, assignment.checkpoint);
  // What was under way for the owners of before is over: an open checkpoint (unless it is known to be complete) and
  // the flags of plans that are not yet applied.
  settle(assignment.checkpoint, true);
  settle(BatchId(INT64_MAX), false);
  flags_void_through_ = newest_plan_;
}

void LaneReducer::run(PlanPointer plan) {
  const BatchId batch = plan->batch;
  newest_plan_ = std::max(newest_plan_, batch);
  auto& held = plans_[batch];
  // A replayed plan is the same batch again, without flags: the one that is here says more.
  if (held == nullptr || (held->replay && !plan->replay)) held = std::move(plan);
  deps_.wake();
}

void LaneReducer::progress(const Watermarks& watermarks) {
  watermarks_.durable = std::max(watermarks_.durable, watermarks.durable);
  watermarks_.published = std::max(watermarks_.published, watermarks.published);
  watermarks_.checkpointed = std::max(watermarks_.checkpointed, watermarks.checkpointed);
  if (watermarks.applied > watermarks_.applied) {
    watermarks_.applied = watermarks.applied;
    for (auto& [partition, slot] : slots_) {
      if (!slot.restoring) slot.table->forget_undo(std::min(slot.applied, watermarks_.applied));
    }
  }
  settle(watermarks.checkpointed, true);
  forget_plans();
  deps_.wake();
}

void LaneReducer::forget_plans() {
  // A partition that this lane gains gets the plans it lacks again, so those beyond the job's progress suffice.
  BatchId needed = watermarks_.applied;
  for (const auto& [partition, slot] : slots_) needed = std::min(needed, slot.applied);
  plans_.erase(plans_.begin(), plans_.upper_bound(needed));
  times_.erase(times_.begin(), times_.upper_bound(needed));
}

void LaneReducer::forget_levels() {
  BatchId applied = watermarks_.durable;
  for (const auto& [partition, slot] : slots_) applied = std::min(applied, slot.applied);
  inbox_.forget_through(applied);
}

void LaneReducer::add_block(const ShuffleBlock& block) {
  bool held = false;
  for (const ShuffleBlock::Section& section : block.sections) {
    const auto slot = slots_.find(section.partition);
    if (slot == slots_.end()) continue;
    held = slot->second.queue.add(block.batch, block.source, block.range, section.bytes, block.times) ==
               ReduceQueue::Admission::kHeld ||
           held;
  }
  if (held) times_[block.batch].arrived = deps_.clock.now();
  deps_.wake();
}

void LaneReducer::add_levels(const LevelBlocks& blocks) {
  if (slots_.empty()) return;
  for (const auto& block : blocks) {
    if (inbox_.add(block) != LevelInbox::Admission::kUnexpected) continue;
    LOG_EVERY_N(ERROR, 1000) << "a block of level " << block->level << " of batch " << block->batch << " from state "
                             << "partition " << block->source << ", generation " << block->generation
                             << ", is dropped: nobody waits for it";
  }
  deps_.wake();
}

// --- restore -----------------------------------------------------------------------------------------------------

void LaneReducer::restore(RestoreShare share) {
  restores_.push_back({std::move(share), 0});
  deps_.wake();
}

bool LaneReducer::restore_some() {
  Restoring& work = restores_.front();
  const StateRun& run = *work.share.run;
  std::map<StatePartition, Slot*> targets;
  for (const OwnedState& state : work.share.partitions) {
    if (Slot* slot = find_slot(state); slot != nullptr && slot->restoring) targets[state.partition] = slot;
  }
  const size_t end = targets.empty() ? run.size() : std::min(run.size(), work.next + kRestoredEntriesPerStep);
  for (; work.next < end && !targets.empty(); ++work.next) {
    const StateRun::Entry entry = run[work.next];
    const auto target = targets.find(entry.partition);
    if (target == targets.end()) continue;
    const LaneActivity::Scope scope(deps_.activity, Kind::kRestore, target->second->applied, entry.partition.value());
    const Status restored = target->second->table->restore(entry, work.share.unpublished);
    if (restored) continue;
    deps_.handler.on_failed({restored.error().code, "state partition " + std::to_string(entry.partition.value()) +
                                                        " cannot be restored: " + restored.error().message});
    restores_.pop_front();
    return true;
  }
  if (end < run.size()) return true;
  const uint64_t ticket = work.share.ticket;
  restores_.pop_front();
  deps_.handler.on_restored(ticket);
  return true;
}

void LaneReducer::finish_restore(const std::vector<OwnedState>& partitions, BatchId batch) {
  for (const OwnedState& state : partitions) {
    Slot* slot = find_slot(state);
    if (slot == nullptr || !slot->restoring) continue;
    CHECK(slot->applied == batch) << "state partition " << state.partition << " restored at " << batch
                                  << " waits for what follows " << slot->applied;
    {
      const LaneActivity::Scope scope(deps_.activity, Kind::kRestore, batch, state.partition.value());
      slot->table->finish_restore(slot->checkpoint_tick_ms);
    }
    slot->restoring = false;
    newly_applied_.push_back(progress_of(state.partition, *slot));
  }
  report_applied();
  answer_waiting();
  deps_.wake();
}

// --- applying ----------------------------------------------------------------------------------------------------

bool LaneReducer::step() {
  bool worked = false;
  if (!restores_.empty()) worked = restore_some();
  for (auto& [partition, slot] : slots_) worked = apply_next(partition, slot) || worked;
  // What others wait for goes first.
  if (!emitted_.empty()) deps_.handler.on_emitted(stamp_, std::exchange(emitted_, {}));
  end_batches();
  note_times();
  if (!newly_applied_.empty()) {
    worked = true;
    report_applied();
    forget_plans();
    forget_levels();
    answer_waiting();
  }
  return freeze_more() || worked;
}

bool LaneReducer::apply_next(StatePartition partition, Slot& slot) {
  if (slot.restoring || slot.is_void) return false;
  const auto sections = take_input(partition, slot);
  if (!sections) return false;
  std::vector<std::string_view> views;
  views.reserve(sections->size());
  for (const SharedBuffer& section : *sections) views.push_back(section.view());
  ++slot.level;
  const BatchPlan& plan = *slot.plan;
  if (!plan.replay) {
    if (working_on_.empty()) working_since_ = deps_.clock.now();
    if (working_on_.insert(plan.batch).second) {
      ReduceTimes& times = times_[plan.batch];
      if (!times.begin) times.begin = working_since_;
      times.received = plan.received;
    }
  }
  std::optional<LaneActivity::Scope> scope(std::in_place, deps_.activity, Kind::kApply, plan.batch, partition.value());
  const Status applied = slot.table->apply({plan.batch, plan.time_ms, plan.tick, plan.watermark_ms, slot.level}, views);
  scope.reset();
  if (!applied) {
    slot.restoring = true;  // worthless from here on
    deps_.handler.on_failed({applied.error().code, "state partition " + std::to_string(partition.value()) +
                                                       " cannot apply batch " + std::to_string(plan.batch.value()) +
                                                       ": " + applied.error().message});
    return false;
  }
  slot.changed = slot.table->changed() || (slot.changed && slot.level > 1);
  if (slot.level < levels_) {
    emit(partition, slot);
  } else {
    ended_.push_back(partition);
  }
  return true;
}

// What the next level to apply is made of, if all of it is here.
std::optional<std::vector<SharedBuffer>> LaneReducer::take_input(StatePartition partition, Slot& slot) {
  if (slot.level > 0) return inbox_.sections_for(slot.plan->batch, slot.level, partition);
  const BatchId next = slot.applied.next();
  if (next > watermarks_.durable || outputs_are_behind(slot)) return std::nullopt;
  const auto plan = plans_.find(next);
  if (plan == plans_.end()) return std::nullopt;
  auto sections = slot.queue.take(*plan->second);
  if (sections) slot.plan = plan->second;
  return sections;
}

void LaneReducer::emit(StatePartition partition, Slot& slot) {
  auto block = std::make_shared<LevelBlock>();
  block->level = slot.level;
  block->batch = slot.plan->batch;
  block->source = partition;
  block->generation = slot.generation;
  block->sections = slot.table->take_emitted();
  std::erase_if(block->sections, [](const auto& section) { return section.bytes.empty(); });
  emitted_.push_back(std::move(block));
}

// What goes to the sink goes first of all partitions, since a rank or a freeze of one takes as long as all of these.
void LaneReducer::end_batches() {
  std::vector<Ended> ranked;
  std::vector<Ended> frozen;
  for (const StatePartition partition : std::exchange(ended_, {})) {
    Slot& slot = slots_.at(partition);
    const PlanPointer plan = end_batch(partition, slot);
    if (plan->replay || plan->batch <= flags_void_through_) continue;
    if (plan->publish) publish(partition, slot, *plan);
    if (plan->rank || plan->publish) ranked.push_back({partition, &slot, plan->batch});
    if (plan->checkpoint && plan->batch > abandoned_) frozen.push_back({partition, &slot, plan->batch});
  }
  share_ranks(ranked);
  freeze(frozen);
}

PlanPointer LaneReducer::end_batch(StatePartition partition, Slot& slot) {
  PlanPointer plan = std::exchange(slot.plan, nullptr);
  slot.level = 0;
  slot.applied = plan->batch;
  if (slot.changed) newest_changed_ = std::max(newest_changed_, slot.applied);
  if (slot.applied <= watermarks_.applied) slot.table->forget_undo(slot.applied);
  append(partition, slot, *plan);
  newly_applied_.push_back(progress_of(partition, slot));
  return plan;
}

LaneApplied::Partition LaneReducer::progress_of(StatePartition partition, const Slot& slot) {
  return {{partition, slot.generation}, slot.applied, slot.is_void ? BatchId(INT64_MAX) : slot.queue.taken()};
}

// Of a replayed batch too: who had the partition before may not have come to it.
void LaneReducer::append(StatePartition partition, Slot& slot, const BatchPlan& plan) {
  std::vector<AppendedRecords> appended = slot.table->take_appended();
  if (appended.empty()) return;
  AppendShare share{{partition, slot.generation}, plan.batch, plan.time_ms, {}};
  size_t bytes = 0;
  for (AppendedRecords& records : appended) {
    bytes += records.bytes.size();
    share.records.push_back({records.output, records.records,
                             std::make_shared<const std::string>(std::move(records.bytes)), records.previous});
  }
  slot.appending.emplace_back(plan.batch, bytes);
  slot.bytes_to_append += bytes;
  deps_.handler.on_appended(std::move(share));
}

bool LaneReducer::outputs_are_behind(const Slot& slot) {
  return slot.appending.size() >= kMaxBatchesToAppend || slot.bytes_to_append >= kMaxBytesToAppend;
}

void LaneReducer::settle_appended(OwnedState state, BatchId batch) {
  Slot* slot = find_slot(state);
  if (slot == nullptr) return;
  while (!slot->appending.empty() && slot->appending.front().first <= batch) {
    slot->bytes_to_append -= slot->appending.front().second;
    slot->appending.pop_front();
  }
  deps_.wake();
}

// At the end of a step: what it took, of the batches that it worked on.
void LaneReducer::note_times() {
  if (working_on_.empty()) return;
  const MonotonicTime now = deps_.clock.now();
  for (const BatchId batch : std::exchange(working_on_, {})) {
    ReduceTimes& times = times_[batch];
    times.batch = batch;
    times.end = now;
    times.busy += now - working_since_;
    const bool all = std::ranges::all_of(
        slots_, [batch](const auto& entry) { return entry.second.restoring || entry.second.applied >= batch; });
    if (all) done_times_.push_back(times);
  }
}

void LaneReducer::report_applied() {
  if (newly_applied_.empty()) return;
  LaneApplied applied;
  applied.lane = deps_.lane;
  applied.partitions = std::exchange(newly_applied_, {});
  applied.changed = newest_changed_;
  applied.times = std::exchange(done_times_, {});
  for (const auto& [partition, slot] : slots_) {
    applied.keys += slot.table->keys();
    applied.memory_bytes +=
        slot.table->memory_bytes() + static_cast<int64_t>(slot.queue.bytes() + slot.bytes_to_append);
  }
  applied.memory_bytes += static_cast<int64_t>(inbox_.bytes());
  if (checkpoint_) applied.memory_bytes += static_cast<int64_t>(checkpoint_->share.run.bytes());
  deps_.handler.on_applied(stamp_, std::move(applied));
}

}  // namespace millrace
