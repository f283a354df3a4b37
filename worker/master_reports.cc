#include "worker/master_reports.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <utility>

#include "common/base/check.h"
#include "common/wire/codec.h"

namespace millrace {
namespace {

constexpr Duration kFetchedPause = std::chrono::milliseconds(1);
constexpr size_t kChangesAtOnce = 1 << 20;  // bytes

// Members of an index are not followed, only its keys.
wire::ChangedKeys changed_keys(const std::vector<SinkEntry>& entries) {
  wire::ChangedKeys changed;
  changed.keys.reserve(entries.size());
  for (const SinkEntry& entry : entries) {
    if (entry.is_member()) continue;
    wire::ChangedKey& key = changed.keys.emplace_back();
    if (entry.table != 0) key.__set_table(entry.table);
    key.__set_key(entry.key);
    if (entry.removed) {
      key.__set_removed(true);
    } else {
      key.__set_text(entry.text);
    }
  }
  return changed;
}

wire::RangeTimes range_times(const RangeTimes& times, MonotonicTime now) {
  wire::RangeTimes told;
  told.lane = static_cast<int32_t>(times.lane);
  told.begin_us = to_us(times.begin - times.received);
  told.end_us = to_us(times.end - times.received);
  told.busy_us = to_us(times.busy);
  told.fetched_us = to_us(times.fetched - times.received);
  told.waited_us = to_us(times.waited);
  told.newest_ms = times.newest_ms;
  told.told_us = to_us(now - times.received);
  return told;
}

wire::LaneTimes lane_times(size_t lane, const ReduceTimes& times, MonotonicTime now) {
  wire::LaneTimes told;
  told.batch = times.batch.value();
  told.lane = static_cast<int32_t>(lane);
  if (times.arrived) told.__set_arrived_us(to_us(*times.arrived - times.received));
  told.begin_us = to_us(*times.begin - times.received);
  told.end_us = to_us(times.end - times.received);
  told.busy_us = to_us(times.busy);
  told.told_us = to_us(now - times.received);
  return told;
}

}  // namespace

wire::OwnedPartition owned_partition(const OwnedState& state, BatchId applied, BatchId begun) {
  wire::OwnedPartition owned;
  owned.partition = state.partition.value();
  owned.generation = state.generation.value();
  owned.applied = applied.value();
  if (begun > applied) owned.__set_begun(begun.value());
  return owned;
}

wire::MapResult map_result(const MapOutcome& outcome) {
  wire::MapResult result;
  result.partition = outcome.partition.value();
  result.from_offset = outcome.range.from.value();
  result.to_offset = outcome.range.to.value();
  result.records = outcome.report.records;
  result.dead_letters = outcome.report.dead_letters;
  result.emitted = outcome.report.emitted;
  result.fingerprint = static_cast<int64_t>(outcome.fingerprint);
  result.batch_ms = outcome.times.batch_ms;
  result.watermark_ms = outcome.times.watermark_ms;
  result.late = outcome.report.late;
  result.event_ms = outcome.report.event_ms;
  const size_t letters = std::min(outcome.report.letters.size(), MasterReports::kMaxLetters);
  for (size_t i = 0; i < letters; ++i) {
    const DeadLetter& letter = outcome.report.letters[i];
    wire::DeadLetter told;
    told.partition = outcome.partition.value();
    told.offset = letter.offset.value();
    told.reason = letter.reason;
    told.timestamp_ms = letter.timestamp_ms;
    result.letters.push_back(std::move(told));
  }
  return result;
}

MasterReports::MasterReports(TaskLoop& loop, Send send) : loop_(loop), send_(std::move(send)) {}

void MasterReports::fetched(wire::FetchedPartition boundary) {
  if (fetched_.size() >= kMaxBoundaries) flush_fetched();
  fetched_.push_back(std::move(boundary));
  if (fetched_pausing_) return;
  loop_.post(lifetime_.guard([this] { flush_fetched(); }));
  pause_fetched();
}

void MasterReports::pause_fetched() {
  fetched_pausing_ = true;
  loop_.schedule(kFetchedPause, lifetime_.guard([this] {
    fetched_pausing_ = false;
    if (fetched_.empty()) return;
    flush_fetched();
    pause_fetched();
  }));
}

void MasterReports::flush_fetched() {
  if (fetched_.empty()) return;
  wire::Fetched fetched;
  fetched.partitions.swap(fetched_);
  wire::Body body;
  body.__set_fetched(fetched);
  send_(BatchId(0), body);
}

void MasterReports::mapped(const MapOutcome& outcome, const std::optional<RangeTimes>& times, MonotonicTime now) {
  wire::MapResult result = map_result(outcome);
  if (times) result.__set_times(range_times(*times, now));
  if (mapped_letters_ + result.letters.size() > kMaxLettersAtOnce) flush();
  mapped_letters_ += result.letters.size();
  mapped_[outcome.batch].results.push_back(std::move(result));
  flush_soon();
}

void MasterReports::reduced(size_t lane, const ReduceTimes& times, MonotonicTime now) {
  times_.push_back(lane_times(lane, times, now));
  flush_soon();
}

void MasterReports::applied(const LaneApplied::Partition& told) {
  applied_[told.state] = told;
  flush_soon();
}

void MasterReports::load(size_t lane, int64_t keys, int64_t memory_bytes) {
  loads_[lane] = {keys, memory_bytes};
}

void MasterReports::changes(const Snapshot& snapshot, BatchId since, bool keys_may_go) {
  if (changes_of_ != snapshot.batch) {
    flush_changes();
    changes_of_ = snapshot.batch;
    changes_bytes_ = 0;
  }
  // All keys do not say which ones are gone.
  if ((snapshot.full && keys_may_go) || changes_bytes_ > kMaxChangesOfRound) return;
  wire::ChangedPartition part;
  part.partition = snapshot.state.partition.value();
  part.generation = snapshot.state.generation.value();
  part.since = snapshot.full ? 0 : since.value();
  if (!snapshot.entries.empty()) part.keys = encode_record(changed_keys(snapshot.entries));
  changes_bytes_ += part.keys.size();
  unsent_changes_ += part.keys.size();
  changes_.partitions.push_back(std::move(part));
  if (unsent_changes_ > kChangesAtOnce) flush_changes();
  flush_soon();
}

void MasterReports::flush_changes() {
  if (changes_.partitions.empty()) return;
  wire::Body body;
  body.__set_round_changes(std::exchange(changes_, {}));
  unsent_changes_ = 0;
  send_(changes_of_, body);
}

void MasterReports::published(const OwnedState& state, BatchId round) {
  published_[round].partitions.push_back(owned_partition(state, round));
  flush_soon();
}

void MasterReports::lost(const OwnedState& state, BatchId round) {
  published_[round].lost.push_back(owned_partition(state, round));
  flush_soon();
}

void MasterReports::trouble(const std::string& place, const std::string& what, Weight weight) {
  const auto known = troubles_.find(place);
  const Trouble now{what, weight};
  if (known == troubles_.end() ? what.empty() : known->second == now) return;
  if (what.empty()) {
    troubles_.erase(known);
  } else {
    LOG(WARNING) << what;
    troubles_[place] = now;
  }
  repeat_trouble();
}

void MasterReports::repeat_trouble() {
  wire::Trouble trouble;
  std::set<std::string> told;  // one broker that is away troubles many places
  for (const auto& [place, known] : troubles_) {
    trouble.fatal = trouble.fatal || known.weight == Weight::kFatal;
    trouble.stuck = trouble.stuck || known.weight == Weight::kStuck;
    if (!told.insert(known.what).second) continue;
    trouble.what += (trouble.what.empty() ? "" : "; ") + known.what;
  }
  wire::Body body;
  body.__set_trouble(trouble);
  send_(BatchId(0), body);
}

void MasterReports::clear() {
  fetched_.clear();
  mapped_.clear();
  mapped_letters_ = 0;
  applied_.clear();
  times_.clear();
  changes_ = {};
  unsent_changes_ = 0;
  published_.clear();
}

void MasterReports::flush_soon() {
  if (flush_posted_) return;
  flush_posted_ = true;
  loop_.post(lifetime_.guard([this] {
    flush_posted_ = false;
    flush();
  }));
}

void MasterReports::flush() {
  for (const auto& [batch, done] : mapped_) {
    wire::Body body;
    body.__set_map_done(done);
    send_(batch, body);
  }
  mapped_.clear();
  mapped_letters_ = 0;
  if (!applied_.empty() || !times_.empty()) {
    wire::Applied applied;
    for (const auto& [state, told] : applied_) {
      applied.partitions.push_back(owned_partition(state, told.applied, told.begun));
    }
    for (const auto& [lane, load] : loads_) {
      applied.keys += load.keys;
      applied.memory_bytes += load.memory_bytes;
    }
    applied.changed = changed_.value();
    applied.times = std::exchange(times_, {});
    applied_.clear();
    wire::Body body;
    body.__set_applied(applied);
    send_(BatchId(0), body);
  }
  flush_changes();
  for (const auto& [round, published] : published_) {
    wire::Body body;
    body.__set_published(published);
    send_(round, body);
  }
  published_.clear();
}

}  // namespace millrace
