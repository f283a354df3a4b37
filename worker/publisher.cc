#include "worker/publisher.h"

#include <algorithm>

#include "common/base/check.h"
#include "worker/retry_pause.h"

namespace millrace {

Publisher::Publisher(TaskLoop& loop, std::unique_ptr<Sink> sink, SinkIdentity identity, Hooks hooks)
    : loop_(loop), sink_(std::move(sink)), identity_(std::move(identity)), hooks_(std::move(hooks)) {}

void Publisher::assign(const std::set<OwnedState>& owned, BatchId published) {
  std::erase_if(done_, [&owned](const auto& entry) { return !owned.contains(entry.first); });
  for (const OwnedState& state : owned) done_.try_emplace(state, published);
  end_.reset();
  // The open round is given up. What is with the sink now may still succeed and is then as good as ever.
  for (auto item = items_.begin(); item != items_.end();) {
    if (item->second.under_way) {
      item->second.given_up = true;
      ++item;
      continue;
    }
    const OwnedState state = item->first;
    const BatchId round = item->second.snapshot->batch;
    item = items_.erase(item);
    hooks_.settled(state, round, PublicationEnd::kGaveUp, false);
  }
  if (owned.empty()) succeeded();  // the trouble is not this process' any more
}

void Publisher::add(Snapshot snapshot) {
  const OwnedState state = snapshot.state;
  const auto done = done_.find(state);
  if (done == done_.end()) return;
  if (snapshot.keep_changes) hooks_.follow(snapshot, done->second);
  Item& item = items_[state];
  if (item.under_way) note_end(item);  // its answer will find another snapshot here, and be ignored
  item = {std::make_shared<const Snapshot>(std::move(snapshot)), false, false};
  pump_soon();
}

void Publisher::end_round(RoundEnd end) {
  end_ = std::move(end);
  pump();
}

// The snapshots of a round come one by one; the sink takes many as one.
void Publisher::pump_soon() {
  if (pump_posted_) return;
  pump_posted_ = true;
  loop_.post(lifetime_.guard([this] {
    pump_posted_ = false;
    pump();
  }));
}

bool Publisher::has_room() const {
  return under_way_ < kLargeAtOnce || (entries_under_way_ < kManyEntries && under_way_ < kMaxAtOnce);
}

void Publisher::pump() {
  if (pausing_ || !hooks_.may_publish()) return;
  for (auto& [state, item] : items_) {
    if (!has_room()) break;
    if (!item.under_way) publish(state, item);
  }
  if (end_ && !end_under_way_) send_end();
}

void Publisher::publish(const OwnedState& state, Item& item) {
  item.under_way = true;
  ++under_way_;
  entries_under_way_ += item.snapshot->entries.size();
  Publication publication;
  publication.partition = state.partition;
  publication.generation = state.generation;
  publication.since = done_.at(state);
  publication.batch = item.snapshot->batch;
  publication.full = item.snapshot->full;
  publication.entries = item.snapshot->entries;
  sink_->publish(identity_, std::move(publication),
                 lifetime_.guard([this, state, snapshot = item.snapshot](const Result<PublishOutcome>& outcome) {
                   on_published(state, snapshot, outcome);
                 }));
}

void Publisher::on_published(const OwnedState& state, const std::shared_ptr<const Snapshot>& snapshot,
                             const Result<PublishOutcome>& outcome) {
  const auto item = items_.find(state);
  if (item == items_.end() || item->second.snapshot != snapshot) return;
  note_end(item->second);
  const BatchId round = snapshot->batch;
  if (!outcome) {
    if (item->second.given_up) finish(state, round, PublicationEnd::kGaveUp, false);
    retry_later(outcome.error());
    return;
  }
  succeeded();
  switch (*outcome) {
    case PublishOutcome::kDone:
      if (const auto done = done_.find(state); done != done_.end()) done->second = std::max(done->second, round);
      finish(state, round, PublicationEnd::kDone, false);
      break;
    case PublishOutcome::kFenced: finish(state, round, PublicationEnd::kGaveUp, true); break;
    case PublishOutcome::kDataLost: finish(state, round, PublicationEnd::kLost, false); break;
  }
  pump_soon();
}

void Publisher::note_end(Item& item) {
  item.under_way = false;
  --under_way_;
  entries_under_way_ -= item.snapshot->entries.size();
}

void Publisher::finish(const OwnedState& state, BatchId round, PublicationEnd end, bool fenced) {
  items_.erase(state);
  hooks_.settled(state, round, end, fenced);
}

void Publisher::send_end() {
  end_under_way_ = true;
  const BatchId round = end_->batch;
  sink_->end_round(identity_, *end_, lifetime_.guard([this, round](const Result<PublishOutcome>& outcome) {
    end_under_way_ = false;
    on_end_written(round, outcome);
  }));
}

void Publisher::on_end_written(BatchId round, const Result<PublishOutcome>& outcome) {
  const bool current = end_ && end_->batch == round;
  if (!outcome) {
    retry_later(outcome.error());
    return;
  }
  succeeded();
  if (current) {
    end_.reset();
    hooks_.round_ended(round, *outcome == PublishOutcome::kDataLost, *outcome == PublishOutcome::kFenced);
  }
  pump();
}

void Publisher::retry_later(const Error& error) {
  hooks_.trouble("the sink does not take results: " + error.message);
  if (pausing_) return;
  pausing_ = true;
  pause_ = longer_pause(pause_);
  loop_.schedule(pause_, lifetime_.guard([this] {
    pausing_ = false;
    pump();
  }));
}

void Publisher::succeeded() {
  if (pause_ == Duration{}) return;
  pause_ = Duration{};
  hooks_.trouble("");
}

}  // namespace millrace
