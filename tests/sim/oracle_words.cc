// Oracle: words that do not only grow: those of an index, those of jobs that go by time, and what the second level of
// `levels` makes of them; the times of batches, and the generations of jobs with levels.

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "common/base/check.h"
#include "stream/event_key.h"
#include "tests/sim/index_job.h"
#include "tests/sim/level_job.h"
#include "tests/sim/oracle.h"
#include "tests/sim/time_jobs.h"

namespace millrace {

int64_t Oracle::newest_count(const Job& job, const std::string& word) {
  const auto found = job.words.find(word);
  return found == job.words.end() ? 0 : found->second.back().second.count;
}

void Oracle::set_count(Job& job, const std::string& word, int64_t batch, int64_t count) {
  auto& history = job.words[word];
  if (history.empty() || history.back().first != batch) history.emplace_back(batch, Sums{});
  history.back().second.count = count;
}

void Oracle::add_posting(Job& job, int64_t batch, const std::string& word, int64_t partition, int64_t offset) {
  const std::string posting = name_of(word, document_of(partition, offset));
  const int64_t before = newest_count(job, posting);
  const int64_t count = before + posting_count(job.spec.type == kShrinkingIndexJob, partition, offset);
  set_count(job, posting, batch, count);
  set_count(job, word, batch, newest_count(job, word) + (count == 0 ? 0 : 1) - (before == 0 ? 0 : 1));
}

void Oracle::on_assignment(const Job& job, const wire::AssignmentRecord& record) {
  if (job.spec.plan.levels <= 1) return;
  for (const wire::StateOwner& owner : record.states) {
    if (owner.generation == record.states.front().generation) continue;
    breach(job, "assignment " + std::to_string(record.generation) + " gives state partition " +
                    std::to_string(owner.partition) + " another generation than the first");
  }
}

void Oracle::check_time(Job& job, const wire::BatchRecord& record) {
  const std::string place = " at batch " + std::to_string(record.batch) + ", of " + std::to_string(record.time_ms);
  if (record.time_ms < job.time_ms) breach(job, "batch time went back from " + std::to_string(job.time_ms) + place);
  job.time_ms = record.time_ms;
  // A batch after a tick belongs to the next one, tick or not.
  if (job.tick_ms > 0 && record.time_ms <= job.tick_ms) {
    breach(job, "the tick at " + std::to_string(job.tick_ms) + " had been" + place);
  }
  if (!record.tick) return;
  job.tick_ms = record.time_ms;
  if (record.time_ms * 1000 % job.spec.batch_interval_us != 0) breach(job, "a tick is at no multiple" + place);
}

bool Oracle::is_at_rest(const std::string& name) const {
  const auto id = newest_of_.find(name);
  if (id == newest_of_.end()) return true;
  const Job& job = jobs_.at(id->second);
  return !is_time_job(job.spec.type) ||
         std::ranges::all_of(job.words, [](const auto& word) { return word.second.back().second.count == 0; });
}

void Oracle::pass_counts(Job& job, int64_t batch) {
  std::map<std::string, int64_t> counts;
  for (const auto& [key, history] : job.words) {
    const int64_t count = history.back().second.count;
    if (!is_unseen(key)) {
      counts.try_emplace(key, 0);
    } else if (count > 0) {
      ++counts[std::to_string(count)];
    }
  }
  for (const auto& [key, count] : counts) {
    if (newest_count(job, key) != count) set_count(job, key, batch, count);
  }
}

void Oracle::pass_time(Job& job, const wire::BatchRecord& record) {
  const std::map<std::string, int64_t> arrived = std::exchange(job.arrived, {});
  for (const auto& [arrived_word, count] : arrived) {
    const std::string word = (job.spec.type == kFadingCountsJob ? kUnseen : "") + arrived_word;
    job.arrivals[word].emplace_back(record.time_ms, count);
    if (is_window_job(job.spec.type)) continue;
    const int64_t more = job.spec.type == kHeatJob ? count * kHeatOfAWord : count;
    set_count(job, word, record.batch, newest_count(job, word) + more);
  }
  if (!record.tick) return;
  const bool fades = job.spec.type == kFadingJob || job.spec.type == kFadingCountsJob;
  const int64_t window_end = record.time_ms / kSlide.count() * kSlide.count();
  for (const auto& [word, times] : job.arrivals) {
    const int64_t before = newest_count(job, word);
    int64_t count = before;
    if (fades && times.back().first + kFadingTime.count() <= record.time_ms) count = 0;
    if (job.spec.type == kHeatJob && before > 0 && !arrived.contains(word)) --count;
    if (is_window_job(job.spec.type)) {
      count = 0;
      for (auto each = times.rbegin(); each != times.rend() && each->first > window_end - kWindow.count(); ++each) {
        if (each->first <= window_end) count += each->second;
      }
    }
    if (count != before) set_count(job, word, record.batch, count);
  }
}

// What this batch's records tell is known to later ones.
void Oracle::check_watermark(Job& job, const wire::BatchRecord& record) {
  const std::string place = " at batch " + std::to_string(record.batch) + ": " + std::to_string(record.watermark_ms);
  if (record.watermark_ms < job.watermark_ms) breach(job, "the watermark went back" + place);
  if (record.watermark_ms > job.watermark_ms) {
    for (const auto& [partition, event_ms] : job.events) {
      if (record.watermark_ms <= event_ms - to_ms(kEventDelay)) continue;
      breach(job, "the watermark is beyond what log partition " + std::to_string(partition) + " has told" + place);
    }
  }
  job.watermark_ms = record.watermark_ms;
}

// `arrivals` are those that no batch has closed, by the texts of their keys.
void Oracle::pass_watermark(Job& job, const wire::BatchRecord& record) {
  const bool closed = job.spec.type == kClosedWindowsJob;
  for (const auto& [window, count] : std::exchange(job.arrived, {})) {
    job.arrivals[window].emplace_back(0, count);
    if (!closed) set_count(job, window, record.batch, newest_count(job, window) + count);
  }
  std::erase_if(job.arrivals, [&](const auto& entry) {
    const auto& [window, counts] = entry;
    int64_t end_ms = 0;
    CHECK(parse_utc(std::string_view(window).substr(window.rfind('@') + 1), end_ms));
    end_ms += to_ms(kEventWindow) + (closed ? 0 : to_ms(kEventKept));
    if (end_ms > record.watermark_ms) return false;
    int64_t count = 0;
    for (const auto& each : counts) count += each.second;
    set_count(job, window, record.batch, closed ? newest_count(job, window) + count : 0);
    return true;
  });
}

void Oracle::pass_levels(Job& job, int64_t batch) {
  // As level 2 gets them: by the state partitions that count the words.
  std::map<std::pair<StatePartition, std::string>, int64_t> arrived;
  for (const auto& [word, count] : std::exchange(job.arrived, {})) {
    arrived[{state_partition_of(word, job.spec.state_partitions), word}] = count;
  }
  std::map<std::string, LevelValue> groups;
  const auto group = [&](int64_t count) -> LevelValue& {
    const std::string key = level_key(count);
    const auto [entry, added] = groups.try_emplace(key);
    if (!added) return entry->second;
    const auto known = job.words.find(key);
    if (known == job.words.end()) return entry->second;
    const Sums& sums = known->second.back().second;
    return entry->second = {sums.count, sums.sum};
  };
  for (const auto& [place, more] : arrived) {
    const std::string& word = place.second;
    const int64_t before = newest_count(job, word);
    if (before > 0) level_step(group(before), word, false);
    level_step(group(before + more), word, true);
    set_count(job, word, batch, before + more);
  }
  for (const auto& [key, value] : groups) {
    set_count(job, key, batch, value.count);
    job.words[key].back().second.sum = value.count == 0 ? 0 : value.digest;
  }
}

}  // namespace millrace
