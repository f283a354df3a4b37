// LaneReducer: what others take from the tables as of one batch: ranks, snapshots, increments of checkpoints, answers.

#include <algorithm>

#include "worker/lane_reducer.h"

namespace millrace {
namespace {

constexpr size_t kFrozenKeysAtOnce = 256;
constexpr size_t kFrozenBytesPerStep = size_t{1} << 20;

}  // namespace

// --- rank, snapshots, checkpoints --------------------------------------------------------------------------------

void LaneReducer::share_ranks(const std::vector<Ended>& ended) {
  if (ended.empty()) return;
  const bool all_at_once = ended.size() == slots_.size() && std::ranges::all_of(ended, [&ended](const Ended& each) {
                             return each.batch == ended.front().batch;
                           });
  for (size_t number = 0; number < tables_.size(); ++number) {
    if (tables_[number].rank_size == 0) continue;
    if (all_at_once && share_rank_above_floor(number, ended)) continue;
    for (const Ended& each : ended) {
      const std::optional<double> floor = ranks_[number].floor(each.batch);
      share_rank({each.batch, {each.partition}, highest_of(number, each, floor), number});
    }
  }
}

// As a rule scores rise, so that what the last one of the newest rank had tells which keys are worth a look. False, and
// nothing is done: too few have that now.
bool LaneReducer::share_rank_above_floor(size_t number, const std::vector<Ended>& all) {
  if (!rank_floors_[number]) return false;
  RankShare share{all.front().batch, {}, {}, number};
  for (const Ended& each : all) {
    share.partitions.push_back(each.partition);
    std::ranges::move(highest_of(number, each, rank_floors_[number]), std::back_inserter(share.entries));
  }
  if (std::ssize(share.entries) < tables_[number].rank_size) return false;
  share_rank(std::move(share));
  return true;
}

std::vector<SinkEntry> LaneReducer::highest_of(size_t number, const Ended& of, std::optional<double> floor) {
  const LaneActivity::Scope scope(deps_.activity, Kind::kShow, of.batch, of.partition.value());
  StateTable& table = of.slot->table->published(number);
  const auto n = static_cast<size_t>(tables_[number].rank_size);
  return floor ? table.top_above(n, *floor) : table.top(n);
}

void LaneReducer::share_rank(RankShare share) {
  const size_t number = share.table;
  const auto n = static_cast<size_t>(tables_[number].rank_size);
  auto merged = ranks_[number].add(std::move(share), owned_, n);
  if (!merged) return;
  rank_floors_[number].reset();
  if (merged->entries.size() == n) rank_floors_[number] = merged->entries.back().score;
  deps_.handler.on_rank(stamp_, std::move(*merged));
}

void LaneReducer::publish(StatePartition partition, Slot& slot, const BatchPlan& plan) {
  if (slot.publishing != BatchId(0)) slot.table->settle_publication(false);
  slot.publishing = plan.batch;
  slot.publish_all = slot.publish_all || slot.table->must_publish_all();
  slot.publishing_all = slot.publish_all;
  const OwnedState state{partition, slot.generation};
  const LaneActivity::Scope scope(deps_.activity, Kind::kShow, plan.batch, partition.value());
  deps_.handler.on_snapshot(stamp_, {.state = state,
                                     .batch = plan.batch,
                                     .full = slot.publish_all,
                                     .keep_changes = plan.keep_changes,
                                     .entries = slot.table->take_unpublished(slot.publish_all)});
}

void LaneReducer::settle_publication(OwnedState state, BatchId round, PublicationEnd end) {
  Slot* slot = find_slot(state);
  if (slot == nullptr) return;
  if (end == PublicationEnd::kLost) slot->publish_all = true;
  if (slot->publishing != round) return;
  slot->publishing = BatchId(0);
  slot->table->settle_publication(end == PublicationEnd::kDone);
  if (end == PublicationEnd::kDone && slot->publishing_all) slot->publish_all = false;
}

void LaneReducer::freeze(const std::vector<Ended>& ended) {
  if (ended.empty()) return;
  const MonotonicTime begun = deps_.clock.now();
  for (const auto& [partition, slot, batch] : ended) {
    if (slot->frozen_at != BatchId(0)) slot->table->settle_freeze(false);
    if (!checkpoint_ || checkpoint_->share.batch != batch) {
      checkpoint_.emplace();
      checkpoint_->share.batch = batch;
      checkpoint_->share.lane = deps_.lane;
    }
    slot->frozen_at = batch;
    const LaneActivity::Scope scope(deps_.activity, Kind::kSave, batch, partition.value());
    slot->table->freeze(partition, checkpoint_->share.run);
    checkpoint_->unread.push_back(partition);
  }
  note_freeze(begun);
}

// Batches go on in between, so that none of them waits for all keys of a checkpoint. Pieces become larger and larger:
// however long a batch takes, it ends before the old values that it needs are too many.
bool LaneReducer::freeze_more() {
  if (!checkpoint_ || checkpoint_->unread.empty()) return false;
  const MonotonicTime begun = deps_.clock.now();
  FrozenShare& share = checkpoint_->share;
  const size_t enough = share.run.size() + deps_.freeze_keys_per_step + share.run.size() / 128;
  const size_t enough_bytes = share.run.bytes() + kFrozenBytesPerStep + share.run.bytes() / 128;
  while (!checkpoint_->unread.empty() && share.run.size() < enough && share.run.bytes() < enough_bytes) {
    const StatePartition partition = checkpoint_->unread.front();
    Slot& slot = slots_.at(partition);
    const LaneActivity::Scope scope(deps_.activity, Kind::kSave, share.batch, partition.value());
    const size_t piece = std::min(kFrozenKeysAtOnce, enough - share.run.size());
    if (slot.table->freeze_more(partition, share.run, piece)) continue;
    checkpoint_->unread.pop_front();
    share.partitions.push_back({partition, slot.generation});
  }
  note_freeze(begun);
  if (share.partitions.size() < slots_.size()) return true;
  deps_.handler.on_frozen(stamp_, std::move(share));
  checkpoint_.reset();
  return true;
}

void LaneReducer::note_freeze(MonotonicTime begun) {
  const Duration held = deps_.clock.now() - begun;
  checkpoint_->share.busy += held;
  checkpoint_->share.longest = std::max(checkpoint_->share.longest, held);
}

void LaneReducer::settle(BatchId up_to, bool complete) {
  if (checkpoint_ && checkpoint_->share.batch <= up_to) checkpoint_.reset();
  for (auto& [partition, slot] : slots_) {
    if (slot.frozen_at == BatchId(0) || slot.frozen_at > up_to) continue;
    slot.table->settle_freeze(complete);
    slot.frozen_at = BatchId(0);
  }
}

void LaneReducer::abandon_checkpoint(BatchId batch) {
  abandoned_ = std::max(abandoned_, batch);
  settle(batch, false);
}

// --- queries -----------------------------------------------------------------------------------------------------

void LaneReducer::query(LaneQuery query) {
  if (try_answer(query)) return;
  if (waiting_.size() >= kMaxWaitingQueries) {
    deps_.handler.on_answer({query.id, {}, "too many queries wait for a batch; try again later"});
    return;
  }
  waiting_.push_back(std::move(query));
}

void LaneReducer::cancel_query(uint64_t id) {
  std::erase_if(waiting_, [id](const LaneQuery& query) { return query.id == id; });
}

void LaneReducer::answer_waiting() {
  std::erase_if(waiting_, [this](const LaneQuery& query) { return try_answer(query); });
}

bool LaneReducer::try_answer(const LaneQuery& query) {
  bool ready = true;
  for (const LaneQuery::Key& key : query.keys) {
    const auto slot = slots_.find(key.partition);
    if (slot == slots_.end()) {
      deps_.handler.on_answer({query.id, {}, "the keys' owner has changed; ask again"});
      return true;
    }
    ready = ready && !slot->second.restoring && slot->second.applied >= query.at;
  }
  if (!ready) return false;
  LaneAnswer answer;
  answer.id = query.id;
  if (query.at < watermarks_.applied) {
    answer.problem = "batch " + std::to_string(query.at.value()) + " is no longer kept; ask for a newer one";
  } else {
    for (const LaneQuery::Key& key : query.keys) {
      const LaneActivity::Scope scope(deps_.activity, Kind::kShow, query.at, key.partition.value());
      const StateTable& table = slots_.at(key.partition).table->published(query.table);
      answer.values.emplace_back(key.index, table.read(key.key, query.at));
      if (query.members > 0) answer.members = table.members(key.key, query.after, query.members, query.at);
    }
  }
  deps_.handler.on_answer(std::move(answer));
  return true;
}

}  // namespace millrace
