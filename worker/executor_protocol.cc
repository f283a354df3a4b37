// Executor: what the master says.

#include <algorithm>

#include "common/base/check.h"
#include "worker/executor.h"
#include "worker/executor_work.h"

namespace millrace {
namespace {

OffsetRange range_of(const wire::PlannedRange& range) {
  return {Offset(range.from_offset), Offset(range.to_offset)};
}

// Where a job has no event time its maps are the same in all plans, whenever they are cut.
MapTimes map_times(const Job& job, int64_t time_ms, int64_t watermark_ms) {
  return job.event_time() ? MapTimes{time_ms, watermark_ms} : MapTimes();
}

std::shared_ptr<BatchPlan> plan_of(const Job& job, BatchId batch, const wire::RunBatch& run) {
  auto plan = std::make_shared<BatchPlan>();
  plan->batch = batch;
  plan->time_ms = run.time_ms;
  plan->tick = run.tick;
  plan->watermark_ms = run.watermark_ms;
  plan->times = map_times(job, run.time_ms, run.watermark_ms);
  for (const wire::PlannedRange& range : run.ranges) {
    plan->ranges.push_back({LogPartition(range.partition), range_of(range), range.records, process_of(range.mapper)});
  }
  plan->checkpoint = run.checkpoint;
  plan->publish = run.publish;
  plan->keep_changes = run.keep_changes;
  plan->rank = run.rank;
  plan->replay = run.replay;
  return plan;
}

}  // namespace

void Executor::on_master_message(const wire::Envelope& envelope) {
  const auto& is = envelope.body.__isset;
  if (is.reset_executor) {
    end(0, "the master ends this executor: " + envelope.body.reset_executor.reason);
  } else if (is.executor_accepted) {
    on_accepted(envelope.header, envelope.body.executor_accepted);
  } else if (is.assign) {
    if (work_ != nullptr) on_assign(envelope.header, envelope.body.assign);
  } else if (work_ != nullptr && router_.stamp().epoch == epoch_) {
    on_work_message(envelope);
  }
}

void Executor::on_work_message(const wire::Envelope& envelope) {
  const wire::Body& body = envelope.body;
  const BatchId batch(envelope.header.batch);
  if (body.__isset.run_batch) {
    on_run_batch(batch, body.run_batch);
  } else if (body.__isset.progress) {
    on_progress(body.progress);
  } else if (body.__isset.replay) {
    on_replay(body.replay);
  } else if (body.__isset.end_round) {
    on_end_round(batch, body.end_round);
  } else if (body.__isset.abandon_checkpoint) {
    work_->appender->abandon_checkpoint(batch);
    work_->checkpointer->abandon(batch);
    work_->lanes->call_all([batch](Lane& lane) { lane.abandon_checkpoint(batch); });
  } else if (body.__isset.merge_state) {
    work_->checkpointer->merge(epoch_, batch, body.merge_state);
  } else if (body.__isset.query) {
    work_->queries->ask(body.query);
  } else if (body.__isset.read_view) {
    // Another master counts its questions anew.
    work_->views->read(body.read_view, lifetime_.guard([this, batch, epoch = epoch_](const wire::ViewReply& reply) {
      if (epoch != epoch_) return;
      wire::Body answer;
      answer.__set_view_reply(reply);
      send_to_master(batch, answer);
    }));
  }
}

// --- assignment --------------------------------------------------------------------------------------------------

void Executor::on_assign(const wire::Header& head, const wire::Assign& assign) {
  const Stamp stamp{Epoch(head.epoch), Generation(head.generation)};
  if (stamp <= router_.stamp()) return;
  const bool new_epoch = stamp.epoch > router_.stamp().epoch;
  // A new master asks for what it lacks; the same one still waits for what was about to be told.
  if (new_epoch) reports_.clear();
  std::vector<Restorer::Gained> gained = update_owned(assign);
  // The lanes first: what the router has kept for this assignment goes to them at once.
  assign_lanes(assign, stamp, new_epoch);
  for (Restorer::Gained& entry : gained) entry.lane = work_->lanes->lane_of(entry.state.partition);
  if (new_epoch) {
    for (RankGather& gather : work_->rank_gathers) gather.forget_beyond(BatchId(assign.durable));
    for (RankBook& rank : work_->ranks) rank.forget_beyond(BatchId(assign.durable));
  }
  round_end_.reset();
  work_->appender->assign(owned_states_);
  work_->checkpointer->abandon_all();
  work_->checkpointer->set_former(BatchId(is_of_former_version(assign) ? assign.checkpoint : 0));
  if (gained.size() == owned_.size()) {
    work_->checkpointer->set_base(BatchId(assign.checkpoint));
  } else {
    work_->checkpointer->raise_base(BatchId(assign.checkpoint));
  }
  work_->publisher->assign(owned_states_, BatchId(assign.published));
  router_.assign(assign, stamp, new_epoch);
  work_->restorer->start(std::move(gained), assign.files, BatchId(assign.checkpoint), BatchId(assign.published));
  follow_receiver();
  if (!new_epoch) return;
  reports_.repeat_trouble();
  repeat_restore_failures();
}

// Its checkpoint was written by the job's code before an upgrade.
bool Executor::is_of_former_version(const wire::Assign& assign) const {
  return assign.checkpoint_version != 0 && assign.checkpoint_version != work_->spec.version;
}

// What this process owns by the assignment; returns what is new to it, with no lane yet.
std::vector<Restorer::Gained> Executor::update_owned(const wire::Assign& assign) {
  std::map<StatePartition, Owned> now;
  std::vector<Restorer::Gained> gained;
  for (const wire::StateOwner& owner : assign.states) {
    if (process_of(owner.process) != options_.process) continue;
    const OwnedState state{StatePartition(owner.partition), Generation(owner.generation)};
    const auto before = owned_.find(state.partition);
    if (before != owned_.end() && before->second.generation == state.generation) {
      now[state.partition] = before->second;
      continue;
    }
    now[state.partition] = {state.generation, BatchId(assign.checkpoint), BatchId(assign.checkpoint), false};
    gained.push_back({state, 0});
  }
  owned_ = std::move(now);
  owned_states_.clear();
  owned_partitions_.clear();
  for (const auto& [partition, owned] : owned_) {
    owned_states_.insert({partition, owned.generation});
    owned_partitions_.insert(partition);
  }
  return gained;
}

void Executor::assign_lanes(const wire::Assign& assign, Stamp stamp, bool new_epoch) {
  LaneAssignment shares;
  shares.stamp = stamp;
  shares.new_epoch = new_epoch;
  shares.durable = BatchId(assign.durable);
  shares.applied = BatchId(assign.applied);
  shares.published = BatchId(assign.published);
  shares.checkpoint = BatchId(assign.checkpoint);
  shares.checkpoint_tick_ms = assign.checkpoint_tick_ms;
  if (is_of_former_version(assign)) {
    shares.former_states = std::make_shared<const std::vector<StatePlan>>(states_from(assign.checkpoint_states));
  }
  for (const wire::LogOwner& owner : assign.logs) {
    if (process_of(owner.process) != options_.process) continue;
    shares.logs.push_back({LogPartition(owner.partition), Offset(owner.read_from)});
  }
  shares.states.assign(owned_states_.begin(), owned_states_.end());
  work_->lanes->assign(shares);
}

// It runs where the rank is made: who that is is decided once, kept, and decided anew when that process is gone.
void Executor::follow_receiver() {
  const wire::JobSpec& spec = work_->spec;
  if (spec.receiver.empty()) return;
  const bool here = router_.rank_owner() == options_.process;
  if (here && work_->receiver != nullptr && work_->receiver_api == accepted_->api) return;
  work_->receiver.reset();
  reports_.trouble("receiver", "");
  if (!here) return;
  work_->receiver_api = accepted_->api;
  work_->receiver = deps_.start_receiver(spec, accepted_->api, lifetime_.guard([this](const std::string& problem) {
    reports_.trouble("receiver", problem);
  }));
}

void Executor::repeat_restore_failures() {
  const bool restoring = std::ranges::any_of(owned_, [](const auto& entry) { return !entry.second.restored; });
  if (!restoring) restore_failures_.clear();
  for (const wire::RestoreFailed& failure : restore_failures_) {
    wire::Body body;
    body.__set_restore_failed(failure);
    send_to_master(BatchId(0), body);
  }
}

// --- batches -----------------------------------------------------------------------------------------------------

void Executor::on_run_batch(BatchId batch, const wire::RunBatch& run) {
  const std::shared_ptr<BatchPlan> made = plan_of(*work_->job, batch, run);
  made->received = deps_.clock.now();
  const PlanPointer plan = made;
  if (plan->publish && !plan->replay) {
    for (RankBook& rank : work_->ranks) rank.expect_round(batch);
  }
  work_->lanes->call_all([plan](Lane& lane) { lane.run(plan); });
  if (plan->replay) return;
  std::vector<MapRequest> requests;
  for (const BatchPlan::Range& range : plan->ranges) {
    if (range.mapper == options_.process)
      requests.push_back({batch, range.partition, range.range, plan->times, false, {}, plan->received});
  }
  work_->lanes->map(std::move(requests));
}

void Executor::on_replay(const wire::Replay& replay) {
  std::vector<MapRequest> requests;
  for (const wire::ReplayTask& task : replay.tasks) {
    const MapTimes times = map_times(*work_->job, task.time_ms, task.watermark_ms);
    MapRequest request{BatchId(task.batch), LogPartition(task.range.partition), range_of(task.range), times, true, {}};
    for (int32_t partition : task.partitions) request.only.push_back(StatePartition(partition));
    std::ranges::sort(request.only);
    requests.push_back(std::move(request));
  }
  work_->lanes->map(std::move(requests));
}

void Executor::on_progress(const wire::Progress& progress) {
  const Watermarks watermarks{BatchId(progress.durable), BatchId(progress.applied), BatchId(progress.checkpointed),
                              BatchId(progress.published)};
  work_->checkpointer->raise_base(watermarks.checkpointed);
  work_->lanes->call_all([watermarks](Lane& lane) { lane.progress(watermarks); });
}

// --- the end of a publication round ------------------------------------------------------------------------------

void Executor::on_end_round(BatchId batch, const wire::EndRound& end_round) {
  round_end_ = {batch, end_round};
  try_end_round();
}

void Executor::try_end_round() {
  if (!round_end_) return;
  const auto& [batch, told] = *round_end_;
  RoundEnd round;
  round.state_partitions = work_->spec.state_partitions;
  round.generation = router_.stamp().generation;
  round.epoch = router_.stamp().epoch;
  round.batch = batch;
  round.status = told.status;
  for (size_t table = 0; table < work_->layout.size(); ++table) {
    if (!work_->layout[table].rank_of_rounds()) continue;
    const RankShare* rank = work_->ranks[table].of(batch);
    if (rank == nullptr) return;  // its last candidates are on their way
    round.ranks[table] = rank->entries;
  }
  round_end_.reset();
  work_->publisher->end_round(std::move(round));
}

}  // namespace millrace
