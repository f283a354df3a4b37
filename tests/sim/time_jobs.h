// Jobs for tests whose words go as batch time passes, and come back with new input.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "millrace/job.h"

namespace millrace {

// Counts words; one that did not come for kFadingTime is forgotten.
inline constexpr char kFadingJob[] = "fading";
inline constexpr std::chrono::milliseconds kFadingTime(60);

// Words get warm, and cool down at each tick at which they do not come.
inline constexpr char kHeatJob[] = "heat";
inline constexpr int64_t kHeatOfAWord = 3;

// Counts the words of the last kWindow.
inline constexpr char kWindowJob[] = "window";
inline constexpr std::chrono::milliseconds kWindow(100);
inline constexpr std::chrono::milliseconds kSlide(40);

inline void define_fading(JobBuilder& job) {
  job.lines()
      .flat_map(split_words)
      .count_by_value({.time_to_live = kFadingTime})
      .publish("counts")
      .rank_all("top", 1000);
}

inline void define_heat(JobBuilder& job) {
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

inline void define_window(JobBuilder& job) {
  job.lines().flat_map(split_words).window(kWindow, kSlide).count_by_value().publish("counts").rank_all("top", 1000);
}

inline constexpr JobDefinition kTimeJobs[] = {{kFadingJob, "words that are forgotten", &define_fading},
                                              {kHeatJob, "words that cool down", &define_heat},
                                              {kWindowJob, "words of late", &define_window}};

}  // namespace millrace
