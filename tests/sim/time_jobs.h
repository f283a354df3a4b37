// Jobs for tests whose words go as time passes, and come back with new input.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "stream/job.h"

namespace millrace {

// Counts words; one that did not come for kFadingTime is forgotten.
inline constexpr char kFadingJob[] = "fading";
inline constexpr std::chrono::milliseconds kFadingTime(60);

// Counts of each count how many such words have it: two shuffles, one behind the other.
inline constexpr char kFadingCountsJob[] = "fading_counts";

// Words get warm, and cool down at each tick at which they do not come.
inline constexpr char kHeatJob[] = "heat";
inline constexpr int64_t kHeatOfAWord = 3;

// Counts the words of the last kWindow.
inline constexpr char kWindowJob[] = "window";
inline constexpr std::chrono::milliseconds kWindow(100);
inline constexpr std::chrono::milliseconds kSlide(40);

// The same by way of three levels: what changes in the window is joined with itself, and what it adds is summed.
inline constexpr char kJoinedWindowJob[] = "joined_window";

// Counts words in windows by event time, which is made of a record's place in the log; some records are late. The
// first shows windows for a while, the second adds up what it is given of those that are final.
inline constexpr char kEventWindowsJob[] = "event_windows";
inline constexpr char kClosedWindowsJob[] = "closed_windows";
inline constexpr std::chrono::seconds kEventWindow(5);
inline constexpr std::chrono::seconds kEventKept(4);
inline constexpr std::chrono::seconds kEventDelay(2);
int64_t event_time_ms(int64_t partition, int64_t offset);
bool is_event_job(const std::string& type);

bool is_window_job(const std::string& type);
bool is_time_job(const std::string& type);
Result<std::shared_ptr<const Job>> make_time_job(const std::string& type, const JobContext& context);

}  // namespace millrace
