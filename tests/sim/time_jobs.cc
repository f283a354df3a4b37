#include "tests/sim/time_jobs.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "millrace/job.h"

namespace millrace {
namespace {

void define_fading(JobBuilder& job) {
  job.lines()
      .flat_map(split_words)
      .count_by_value({.time_to_live = kFadingTime})
      .publish("counts")
      .rank_all("top", 1000);
}

void define_fading_counts(JobBuilder& job) {
  job.lines()
      .flat_map(split_words)
      .count_by_value({.time_to_live = kFadingTime})
      .count_by([](const std::string&, int64_t count) { return count; })
      .publish("words")
      .rank_all("top", 1000);
}

void define_heat(JobBuilder& job) {
  job.lines()
      .flat_map(split_words)
      .map([](std::string_view word) { return std::pair<std::string_view, int64_t>(word, kHeatOfAWord); })
      .update_state_by_key<int64_t>([](std::span<const int64_t> values, std::optional<int64_t> state) {
        int64_t heat = state.value_or(0) - (values.empty() ? 1 : 0);
        for (const int64_t value : values) heat += value;
        return heat > 0 ? std::optional(heat) : std::nullopt;
      })
      .publish("heat")
      .rank_all("top", 1000);
}

void define_window(JobBuilder& job) {
  job.lines().flat_map(split_words).window(kWindow, kSlide).count_by_value().publish("counts").rank_all("top", 1000);
}

// So that each level has its words elsewhere.
std::string reversed(const std::string& word) {
  return {word.rbegin(), word.rend()};
}

void define_joined_window(JobBuilder& job) {
  using WordChange = Change<std::string, int64_t>;
  const auto changes = job.lines().flat_map(split_words).window(kWindow, kSlide).count_by_value().changes().cache();
  const auto added = changes.map([](const WordChange& change) {
    return std::pair(reversed(change.key), change.after.value_or(0) - change.before.value_or(0));
  });
  const auto words = changes.map([](const WordChange& change) { return std::pair(reversed(change.key), true); });
  added.join(words, {.time_to_live = std::chrono::milliseconds(1)})
      .map([](const auto& joined) { return std::pair(reversed(joined.first), joined.second.first); })
      .update_state_by_key<int64_t>(
          [](std::span<const int64_t> values, std::optional<int64_t> state) {
            int64_t count = state.value_or(0);
            for (const int64_t value : values) count += value;
            return count > 0 ? std::optional(count) : std::nullopt;
          },
          {.only_changed = true})
      .publish("counts")
      .rank_all("top", 1000);
}

auto event_windows(const JobBuilder& job) {
  return job.records()
      .event_time([](const Record& record) { return event_time_ms(record.partition.value(), record.offset.value()); },
                  {.delay = kEventDelay, .idle = {}, .ahead = {}})
      .map([](const Record& record) { return std::string(record.value); })
      .flat_map(split_words)
      .tumbling(kEventWindow);
}

void define_event_windows(JobBuilder& job) {
  event_windows(job).count_by_value({.keep = kEventKept}).publish("counts").rank_all("top", 1000);
}

void define_closed_windows(JobBuilder& job) {
  using Window = Closed<std::string, int64_t>;
  event_windows(job)
      .count_by_value()
      .closed()
      .map([](const Window& window) { return std::pair(window.key + "@" + utc_text(window.begin_ms), window.value); })
      .reduce_by_key(SaturatingSum(), "closed")
      .publish("counts")
      .rank_all("top", 1000);
}

constexpr JobDefinition kEventJobs[] = {{kEventWindowsJob, "words by event time", &define_event_windows},
                                        {kClosedWindowsJob, "words by event time, once", &define_closed_windows}};

constexpr JobDefinition kTimeJobs[] = {{kFadingJob, "words that are forgotten", &define_fading},
                                       {kFadingCountsJob, "how many words have a count", &define_fading_counts},
                                       {kHeatJob, "words that cool down", &define_heat},
                                       {kWindowJob, "words of late", &define_window},
                                       {kJoinedWindowJob, "words of late, by three levels", &define_joined_window}};

}  // namespace

bool is_window_job(const std::string& type) {
  return type == kWindowJob || type == kJoinedWindowJob;
}

bool is_time_job(const std::string& type) {
  return std::ranges::find(kTimeJobs, type, &JobDefinition::name) != std::end(kTimeJobs);
}

int64_t event_time_ms(int64_t partition, int64_t offset) {
  constexpr int64_t kBegin = 1'795'000'000'000;
  const int64_t jitter_ms = (offset * 7919 + partition * 104729) % 4001;
  return kBegin + offset * 600 + partition * 900 + jitter_ms;
}

bool is_event_job(const std::string& type) {
  return std::ranges::find(kEventJobs, type, &JobDefinition::name) != std::end(kEventJobs);
}

Result<std::shared_ptr<const Job>> make_time_job(const std::string& type, const JobContext& context) {
  if (is_event_job(type)) return make_job(*std::ranges::find(kEventJobs, type, &JobDefinition::name), context);
  return make_job(*std::ranges::find(kTimeJobs, type, &JobDefinition::name), context);
}

}  // namespace millrace
