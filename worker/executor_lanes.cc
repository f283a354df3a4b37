// Executor: what its lanes and the parts of its work answer.

#include <algorithm>

#include "common/base/check.h"
#include "common/model/source_topics.h"
#include "worker/executor.h"
#include "worker/executor_work.h"

namespace millrace {

void Executor::make_work(Incarnation incarnation, const wire::JobSpec& spec, std::shared_ptr<const Job> job,
                         std::unique_ptr<Sink> sink, std::vector<Appender::Named> outputs) {
  incarnation_ = incarnation;
  work_ = std::make_unique<Work>();
  Work& work = *work_;
  work.spec = spec;
  work.job = std::move(job);
  work.layout = work.job->tables();
  work.rank_gathers.resize(work.layout.size());
  for (const TablePlan& table : work.layout) work.ranks.emplace_back(table.rank_size, spec.state_partitions);

  std::vector<LaneSeams> seams;
  for (size_t lane = 0; lane < options_.lanes; ++lane) seams.push_back(deps_.lane_seams(lane));
  LaneHandler& answers = *this;
  work.lanes = std::make_unique<LaneGroup>(deps_.loop, deps_.clock, std::move(seams), answers, spec, work.job);

  for (size_t lane = 0; lane < work.lanes->size(); ++lane) work.watch.add(work.lanes->activity(lane));

  const SinkIdentity identity{spec.name, options_.job, incarnation, work.layout};
  work.publisher = std::make_unique<Publisher>(
      deps_.loop, std::move(sink), identity,
      Publisher::Hooks{
          .may_publish = [this] { return lease_holds(); },
          .follow = [this](const Snapshot& snapshot,
                           BatchId since) { reports_.changes(snapshot, since, work_->job->removes_keys()); },
          .settled = [this](const OwnedState& state, BatchId round, PublicationEnd end,
                            bool fenced) { on_publication_settled(state, round, end, fenced); },
          .round_ended = [this](BatchId round, bool lost, bool fenced) { on_round_ended(round, lost, fenced); },
          .trouble = [this](const std::string& what) { reports_.trouble("sink", what); }});

  work.appender = std::make_unique<Appender>(
      deps_.loop, std::move(outputs),
      Appender::Hooks{.may_append = [this] { return lease_holds(); },
                      .settled =
                          [this](const OwnedState& state, BatchId batch) {
                            const size_t lane = work_->lanes->lane_of(state.partition);
                            if (lane == LaneGroup::kNoLane) return;
                            work_->lanes->call(
                                lane, [state, batch](Lane& to) { to.reducer().settle_appended(state, batch); });
                          },
                      .trouble = [this](const std::string& output,
                                        const std::string& what) { reports_.trouble("output " + output, what); },
                      .failed = [this](Error error) { on_failed(std::move(error)); }});

  const std::string folder = spec.name + "-" + to_string(options_.job) + "/" + std::to_string(incarnation.value());
  work.checkpointer = std::make_unique<Checkpointer>(deps_.loop, deps_.checkpoints, folder, options_.process,
                                                     [this](BatchId batch, const wire::Checkpointed& report) {
                                                       wire::Body body;
                                                       body.__set_checkpointed(report);
                                                       report_to_master(batch, body);
                                                     });

  work.restorer = std::make_unique<Restorer>(
      deps_.loop, deps_.checkpoints,
      Restorer::Hooks{.to_lane =
                          [this](size_t lane, RestoreShare share) {
                            work_->lanes->call(lane,
                                               [share = std::move(share)](Lane& to) { to.reducer().restore(share); });
                          },
                      .finished =
                          [this](size_t lane, std::vector<OwnedState> states, BatchId batch) {
                            work_->lanes->call(lane, [states = std::move(states), batch](Lane& to) {
                              to.reducer().finish_restore(states, batch);
                            });
                          },
                      .failed = [this](const std::string& file, const Error& error) { on_restore_failed(file, error); },
                      .trouble = [this](const std::string& what) { reports_.trouble("restore", what); }});

  work.views = std::make_unique<ViewReader>(deps_.checkpoints, work.job);

  work.queries = std::make_unique<QueryBoard>(
      deps_.loop, spec.state_partitions, work.ranks,
      QueryBoard::Hooks{
          .reply =
              [this](const wire::QueryReply& reply) {
                wire::Body body;
                body.__set_query_reply(reply);
                send_to_master(BatchId(0), body);
              },
          .lane_of = [this](StatePartition partition) { return work_->lanes->lane_of(partition); },
          .ask =
              [this](size_t lane, LaneQuery query) {
                work_->lanes->call(lane, [query = std::move(query)](Lane& to) { to.reducer().query(query); });
              },
          .cancel =
              [this](uint64_t id) { work_->lanes->call_all([id](Lane& lane) { lane.reducer().cancel_query(id); }); }});
}

void Executor::on_opened(size_t, Result<std::optional<LogDescription>> log) {
  ++lanes_open_;
  if (!log) {
    if (problem_.empty()) problem_ = log.error().message;
  } else if (*log) {
    log_ = std::move(*log);
  }
  if (lanes_open_ == work_->lanes->size()) check_ready();
}

void Executor::on_fetched(Stamp stamp, wire::FetchedPartition fetched) {
  if (stamp.epoch == router_.stamp().epoch) reports_.fetched(std::move(fetched));
}

void Executor::on_mapped(Stamp stamp, MappedRange mapped) {
  if (router_.is_void(stamp, mapped.outcome->batch)) return;
  reports_.mapped(*mapped.outcome, mapped.times, deps_.clock.now());
  router_.route(stamp, mapped);
}

void Executor::on_applied(Stamp, LaneApplied applied) {
  reports_.load(applied.lane, applied.keys, applied.memory_bytes);
  reports_.changed(applied.changed);
  for (const ReduceTimes& times : applied.times) reports_.reduced(applied.lane, times, deps_.clock.now());
  for (const LaneApplied::Partition& told : applied.partitions) {
    const auto owned = owned_.find(told.state.partition);
    if (owned == owned_.end() || owned->second.generation != told.state.generation) continue;
    owned->second.applied = told.applied;
    owned->second.begun = told.begun;
    owned->second.restored = true;
    reports_.applied(told);
  }
}

void Executor::on_emitted(Stamp stamp, LevelBlocks blocks) {
  std::erase_if(blocks, [&](const auto& block) { return router_.is_void(stamp, block->batch); });
  for (const auto& block : blocks) {
    const auto owned = owned_.find(block->source);
    if (owned == owned_.end() || owned->second.generation != block->generation) continue;
    owned->second.begun = std::max(owned->second.begun, block->batch);
  }
  if (!blocks.empty()) router_.route(blocks);
}

// Whichever assignment the lane followed: this owner's batches come once, and nobody else appends them.
void Executor::on_appended(AppendShare share) {
  if (owned_states_.contains(share.state)) work_->appender->add(std::move(share));
}

void Executor::on_snapshot(Stamp stamp, Snapshot snapshot) {
  if (stamp != router_.stamp()) {
    // The round it was taken for is given up.
    settle_in_lane(snapshot.state, snapshot.batch, PublicationEnd::kGaveUp);
    return;
  }
  work_->publisher->add(std::move(snapshot));
}

void Executor::settle_in_lane(const OwnedState& state, BatchId round, PublicationEnd end) {
  const size_t lane = work_->lanes->lane_of(state.partition);
  if (lane == LaneGroup::kNoLane) return;
  work_->lanes->call(lane, [state, round, end](Lane& to) { to.reducer().settle_publication(state, round, end); });
}

void Executor::on_publication_settled(const OwnedState& state, BatchId round, PublicationEnd end, bool fenced) {
  settle_in_lane(state, round, end);
  if (end == PublicationEnd::kDone) reports_.published(state, round);
  if (end == PublicationEnd::kLost) reports_.lost(state, round);
  if (!fenced) return;
  wire::FencedOut out;
  out.partitions.push_back(owned_partition(state, round));
  wire::Body body;
  body.__set_fenced_out(out);
  report_to_master(round, body);
}

void Executor::on_round_ended(BatchId round, bool lost, bool fenced) {
  wire::Body body;
  if (fenced) {
    body.__set_fenced_out(wire::FencedOut());
  } else {
    wire::RoundEnded ended;
    ended.lost = lost;
    body.__set_round_ended(ended);
  }
  report_to_master(round, body);
}

void Executor::on_rank(Stamp stamp, RankShare share) {
  if (router_.is_void(stamp, share.batch)) return;
  const size_t table = share.table;
  const auto size = static_cast<size_t>(work_->layout[table].rank_size);
  auto merged = work_->rank_gathers[table].add(std::move(share), owned_partitions_, size);
  if (merged) router_.route(*merged);
}

void Executor::on_rank_candidates(RankShare share) {
  if (share.table >= work_->ranks.size()) {
    LOG(ERROR) << "rank candidates of table " << share.table << " are dropped: the job has no such table";
    return;
  }
  RankBook& rank = work_->ranks[share.table];
  if (rank.add(std::move(share))) work_->queries->on_rank();
  try_end_round();
}

void Executor::on_frozen(Stamp stamp, FrozenShare share) {
  if (stamp != router_.stamp()) return;
  // What a complete checkpoint covers is not replayed, so nothing of it may be missing in an output.
  const std::vector<OwnedState> states = share.partitions;
  const BatchId batch = share.batch;
  work_->appender->when_appended(states, batch, [this, epoch = stamp.epoch, share = std::move(share)]() mutable {
    work_->checkpointer->add(epoch, std::move(share), owned_states_);
  });
}

void Executor::on_restored(uint64_t ticket) {
  work_->restorer->on_restored(ticket);
}

void Executor::on_restore_failed(const std::string& file, const Error& error) {
  LOG(ERROR) << "checkpoint file " << file << " cannot be used: " << error;
  wire::RestoreFailed failure;
  failure.file = file;
  failure.reason = error.message;
  restore_failures_.push_back(failure);
  wire::Body body;
  body.__set_restore_failed(failure);
  report_to_master(BatchId(0), body);
}

void Executor::on_answer(LaneAnswer answer) {
  work_->queries->on_answer(std::move(answer));
}

void Executor::on_log_trouble(LogPartition partition, std::optional<Error> error) {
  const std::string place = SourceTopics::of(work_->spec.source).place(partition);
  if (!error) {
    reports_.trouble(place, "");
    return;
  }
  if (error->code == ErrorCode::kUnavailable) {  // the whole log, most likely, and not for ever
    reports_.trouble(place, error->message, MasterReports::Weight::kPassing);
    return;
  }
  const std::string remedy =
      error->code == ErrorCode::kDataLost ? "; restore the log, or kill the job and submit it again" : "";
  reports_.trouble(place, place + ": " + error->message + remedy, MasterReports::Weight::kFatal);
}

void Executor::on_failed(Error error) {
  reports_.trouble("job", error.message, MasterReports::Weight::kFatal);
}

}  // namespace millrace
