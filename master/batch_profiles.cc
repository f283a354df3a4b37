#include "master/batch_profiles.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace millrace {
namespace {

// How much later than its receiver's times the cut's times are; see the top of the header.
int64_t way_there_us(MonotonicTime cut_at, int64_t told_us, MonotonicTime now) {
  return std::max<int64_t>(0, (to_us(now - cut_at) - told_us) / 2);
}

api::BatchStep plain_step(const std::string& name, int64_t begin_us, int64_t end_us) {
  api::BatchStep step;
  step.name = name;
  step.begin_us = begin_us;
  step.end_us = std::max(begin_us, end_us);
  return step;
}

std::string lane_name(const std::string& worker, int32_t lane) {
  return worker + " lane " + std::to_string(lane);
}

}  // namespace

BatchProfiles::Entry* BatchProfiles::find(BatchId batch) {
  if (entries_.empty()) return nullptr;
  const int64_t index = batch.value() - entries_.front().profile.batch;
  return index < 0 || index >= std::ssize(entries_) ? nullptr : &entries_[static_cast<size_t>(index)];
}

void BatchProfiles::cut(const wire::BatchRecord& record, int64_t bytes, MonotonicTime now) {
  if (!entries_.empty() && record.batch != entries_.back().profile.batch + 1) entries_.clear();
  Entry& entry = entries_.emplace_back();
  entry.cut_at = now;
  entry.profile.batch = record.batch;
  entry.profile.time_ms = record.time_ms;
  entry.profile.bytes = bytes;
  for (const wire::PlannedRange& range : record.ranges) entry.profile.records += range.records;
  if (entries_.size() > kKept) entries_.pop_front();
}

void BatchProfiles::durable(BatchId batch, MonotonicTime now) {
  Entry* entry = find(batch);
  if (entry == nullptr) return;
  entry->profile.durable_us = to_us(now - entry->cut_at);
  latencies_.durable.observe(now - entry->cut_at);
}

// A lane may map several ranges, in turn or in pieces by turns.
void BatchProfiles::note_map(Entry& entry, Part part) {
  if (entry.maps.empty() || part.end_us < entry.first_sent_us) entry.first_sent_us = part.end_us;
  const auto known = std::ranges::find(entry.maps, part.who, &Part::who);
  if (known == entry.maps.end()) {
    entry.maps.push_back(std::move(part));
    return;
  }
  known->begin_us = std::min(known->begin_us, part.begin_us);
  known->end_us = std::max(known->end_us, part.end_us);
  known->busy_us += part.busy_us;
}

void BatchProfiles::mapped(BatchId batch, const std::string& worker, const std::string& place,
                           const wire::MapResult& result, MonotonicTime now) {
  Entry* entry = find(batch);
  if (entry == nullptr || entry->applied) return;
  entry->profile.mapped_us = to_us(now - entry->cut_at);
  if (!result.__isset.times) return;
  const wire::RangeTimes& times = result.times;
  const int64_t way_us = way_there_us(entry->cut_at, times.told_us, now);
  note_map(*entry, {lane_name(worker, times.lane), times.begin_us + way_us, times.end_us + way_us, times.busy_us, 0});
  const int64_t fetched_us = times.fetched_us + way_us;
  if (times.waited_us > 0) {
    entry->fetches.push_back({place, fetched_us - times.waited_us, fetched_us, times.waited_us, times.waited_us});
  }
  entry->profile.newest_ms = std::max(entry->profile.newest_ms, times.newest_ms);
}

void BatchProfiles::reduced(const std::string& worker, const wire::LaneTimes& times, MonotonicTime now) {
  Entry* entry = find(BatchId(times.batch));
  if (entry == nullptr || entry->applied) return;
  const int64_t way_us = way_there_us(entry->cut_at, times.told_us, now);
  entry->reduces.push_back(
      {lane_name(worker, times.lane), times.begin_us + way_us, times.end_us + way_us, times.busy_us, 0});
  if (!times.__isset.arrived_us) return;
  const int64_t arrived_us = times.arrived_us + way_us;
  entry->arrived_us = std::max(entry->arrived_us.value_or(arrived_us), arrived_us);
}

void BatchProfiles::applied(BatchId batch, MonotonicTime now) {
  for (Entry* entry = find(batch); entry != nullptr && !entry->applied; entry = find(batch)) {
    entry->applied = true;
    entry->profile.applied_us = to_us(now - entry->cut_at);
    make_steps(*entry);
    sum_up(entry->profile);
    batch = batch.previous();
  }
}

void BatchProfiles::sum_up(const api::BatchProfile& profile) {
  latencies_.applied.observe(std::chrono::microseconds(profile.applied_us));
  if (profile.mapped_us > 0) latencies_.mapped.observe(std::chrono::microseconds(profile.mapped_us));
  for (const api::BatchStep& step : profile.steps) held_us_[step.name] += step.held_us;
  newest_record_ms_ = std::max(newest_record_ms_, profile.newest_ms);
}

api::BatchStep BatchProfiles::step_of(const std::string& name, const std::vector<Part>& parts) {
  api::BatchStep step;
  step.name = name;
  step.begin_us = std::ranges::min(parts, {}, &Part::begin_us).begin_us;
  step.end_us = std::ranges::max(parts, {}, &Part::end_us).end_us;
  step.lanes = static_cast<int32_t>(parts.size());
  std::vector<int64_t> own;
  for (const Part& part : parts) {
    step.busy_us += part.busy_us;
    own.push_back(part.own_us);
  }
  std::ranges::sort(own);
  step.lane_p50_us = own[(own.size() - 1) / 2];
  step.lane_most_us = own.back();
  step.slowest = std::ranges::max(parts, {}, &Part::own_us).who;
  return step;
}

// What was told becomes steps; then what each of them alone has held up: until all that stands before it had ended, it
// did not matter.
void BatchProfiles::make_steps(Entry& entry) {
  api::BatchProfile& profile = entry.profile;
  const int64_t applied_us = profile.applied_us;
  for (std::vector<Part>* parts : {&entry.maps, &entry.reduces}) {
    for (Part& part : *parts) part.own_us = part.end_us - part.begin_us;
  }
  auto& steps = profile.steps;
  if (!entry.maps.empty()) {
    const api::BatchStep map = step_of("map", entry.maps);
    steps.push_back(plain_step("wait", 0, map.begin_us));
    if (!entry.fetches.empty()) steps.push_back(step_of("fetch", entry.fetches));
    steps.push_back(map);
    if (entry.arrived_us) steps.push_back(plain_step("shuffle", entry.first_sent_us, *entry.arrived_us));
  }
  steps.push_back(plain_step("commit", 0, profile.durable_us));
  if (!entry.reduces.empty()) steps.push_back(step_of("reduce", entry.reduces));
  int64_t done_us = 0;
  for (api::BatchStep& step : steps) {
    step.begin_us = std::min(step.begin_us, applied_us);
    step.end_us = std::min(step.end_us, applied_us);
    step.held_us = std::max<int64_t>(0, step.end_us - done_us);
    done_us = std::max(done_us, step.end_us);
  }
  steps.push_back(plain_step("report", done_us, applied_us));
  steps.back().held_us = applied_us - done_us;
  entry.fetches = {};
  entry.maps = {};
  entry.reduces = {};
}

const api::BatchStep* BatchProfiles::find_step(const Entry& entry, const std::string& name) {
  const auto found = std::ranges::find(entry.profile.steps, name, &api::BatchStep::name);
  return found == entry.profile.steps.end() ? nullptr : &*found;
}

void BatchProfiles::froze(BatchId batch, const std::string& worker, const std::vector<wire::LaneFreeze>& lanes) {
  Entry* entry = find(batch);
  if (entry == nullptr) return;
  for (const wire::LaneFreeze& lane : lanes) {
    entry->freezes.push_back({lane_name(worker, lane.lane), 0, 0, lane.busy_us, lane.longest_us});
  }
}

// It began when its batch was reduced, or, if none has told, was applied.
void BatchProfiles::checkpointed(BatchId batch, MonotonicTime now) {
  Entry* entry = find(batch);
  if (entry == nullptr || !entry->applied) return;
  const api::BatchStep* reduce = find_step(*entry, "reduce");
  const int64_t applied_us = reduce == nullptr ? entry->profile.applied_us : reduce->end_us;
  const std::vector<Part> freezes = std::exchange(entry->freezes, {});
  api::BatchStep step = freezes.empty() ? plain_step("checkpoint", 0, 0) : step_of("checkpoint", freezes);
  step.begin_us = applied_us;
  step.end_us = std::max(step.begin_us, to_us(now - entry->cut_at));
  latencies_.checkpoint.observe(std::chrono::microseconds(step.end_us - step.begin_us));
  auto& steps = entry->profile.steps;
  const bool published = steps.back().name == "publish";
  steps.insert(published ? std::prev(steps.end()) : steps.end(), std::move(step));
}

// It began when its batch was applied.
void BatchProfiles::published(BatchId batch, MonotonicTime now) {
  Entry* round = find(batch);
  if (round == nullptr) return;
  const api::BatchStep* reduce = find_step(*round, "reduce");
  MonotonicTime begin = now;
  if (round->applied) {
    const int64_t applied_us = reduce == nullptr ? round->profile.applied_us : reduce->end_us;
    begin = round->cut_at + std::chrono::microseconds(applied_us);
  }
  for (Entry* entry = round; entry != nullptr && entry->profile.published_by == 0;
       entry = find(BatchId(entry->profile.batch).previous())) {
    entry->profile.published_by = batch.value();
    entry->profile.published_us = to_us(now - entry->cut_at);
    latencies_.published.observe(now - entry->cut_at);
    entry->profile.steps.push_back(plain_step("publish", to_us(begin - entry->cut_at), entry->profile.published_us));
  }
}

std::vector<api::BatchProfile> BatchProfiles::newest(size_t n, BatchId before) const {
  std::vector<api::BatchProfile> profiles;
  for (auto entry = entries_.rbegin(); entry != entries_.rend() && profiles.size() < n; ++entry) {
    if (entry->applied && (before == BatchId(0) || entry->profile.batch < before.value())) {
      profiles.push_back(entry->profile);
    }
  }
  std::ranges::reverse(profiles);
  return profiles;
}

}  // namespace millrace
