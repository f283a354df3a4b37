// Windows by event time against plain code that keeps all input: records out of order and too late, partitions that
// fall silent, skipped batches, checkpoints and crashes. The plain code has its own idea of the watermark.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <set>

#include "job_model.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;
using millrace::testing::TestJob;
using ::testing::HasSubstr;

constexpr int64_t kBegin = 1'795'000'000'000;  // 2026-11-18T11:06:40Z
constexpr int64_t kDelay = 300;
constexpr int64_t kIdle = 2000;

struct Sent {
  std::string key;
  int64_t time_ms;
  MILLRACE_FIELDS(Sent, key, time_ms)
};

// "KEY TIME"
std::expected<Sent, std::string> parse(std::string_view line) {
  const size_t border = line.find(' ');
  Sent sent{std::string(line.substr(0, border)), 0};
  if (border == std::string_view::npos) return std::unexpected("has no time");
  const std::string_view digits = line.substr(border + 1);
  std::from_chars(digits.data(), digits.data() + digits.size(), sent.time_ms);
  return sent;
}

auto events(const JobBuilder& job) {
  return job.lines()
      .map(parse)
      .event_time([](const Sent& sent) { return sent.time_ms; },
                  {.delay = std::chrono::milliseconds(kDelay), .idle = std::chrono::milliseconds(kIdle)})
      .map([](const Sent& sent) { return sent.key; });
}

// What the plain code is told of a batch.
struct Arrived {
  std::vector<Sent> records;  // that are no dead letters
  int64_t watermark_ms = 0;
};
using Reference = std::function<ModelTable(const Arrived&)>;

// The watermark by the rule alone: the least of the partitions that are not idle.
class PlainWatermark {
 public:
  void push(int32_t partition) { sources_.try_emplace(partition); }
  void came(int32_t partition, int64_t time_ms) {
    sources_[partition].greatest = std::max(sources_[partition].greatest, time_ms);
    sources_[partition].quiet = 0;
  }
  int64_t next(int64_t passed_ms) {
    std::vector<int64_t> awake;
    for (auto& [partition, source] : sources_) {
      source.quiet += std::min(passed_ms, std::max<int64_t>(kIdle / 16, 100));
      if (source.quiet < kIdle) awake.push_back(source.greatest);
    }
    if (!awake.empty()) newest_ = std::max(newest_, *std::ranges::min_element(awake) - kDelay);
    return newest_;
  }

 private:
  struct Source {
    int64_t greatest = 0;
    int64_t quiet = 0;
  };
  std::map<int32_t, Source> sources_;
  int64_t newest_ = 0;
};

// Three partitions whose times go on at their own pace; each may fall silent for a while.
class Traffic {
 public:
  explicit Traffic(uint64_t seed) : random_(seed) {}

  uint64_t below(uint64_t bound) { return random_() % bound; }
  std::map<int32_t, std::vector<Sent>> batch() {
    std::map<int32_t, std::vector<Sent>> sent;
    for (int32_t partition = 0; partition < 3; ++partition) {
      if (silent_[partition] > 0) {
        --silent_[partition];
        continue;
      }
      if (below(30) == 0) silent_[partition] = static_cast<int>(below(40));
      for (uint64_t records = below(6); records != 0; --records) {
        now_[partition] += static_cast<int64_t>(below(120));
        const auto behind = static_cast<int64_t>(below(10) == 0 ? below(2500) : below(kDelay));
        sent[partition].push_back({"w" + std::to_string(below(4)), std::max(kBegin, now_[partition] - behind)});
      }
    }
    return sent;
  }

 private:
  std::mt19937_64 random_;
  int64_t now_[3] = {kBegin, kBegin + 700, kBegin + 5000};
  int silent_[3] = {};
};

// Runs the job beside `make_reference()`, batch by batch. Gives how many records came too late by `last_end`.
void expect_reference(const JobDefinition& definition, const std::function<int64_t(int64_t time_ms)>& last_end,
                      const std::function<Reference()>& make_reference) {
  int64_t late_at_all = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Traffic traffic(seed);
    TestJob job(definition, {.state_partitions = seed % 2 == 0 ? 1 : 8, .piece_records = 1 + traffic.below(20)});
    const Reference reference = make_reference();
    PlainWatermark watermark;
    int64_t late = 0;
    for (int number = 0; number < 80; ++number) {
      const auto sent = traffic.batch();
      for (const auto& [partition, records] : sent) {
        watermark.push(partition);
        for (const Sent& each : records) job.push(each.key + " " + std::to_string(each.time_ms), partition);
      }
      const int64_t before_ms = job.batch_time();
      if (traffic.below(10) == 0) job.advance(std::chrono::milliseconds(100 * traffic.below(50)));
      if (traffic.below(5) == 0) {
        job.run_early_batch();
      } else {
        job.run_batch();
      }
      Arrived arrived{{}, watermark.next(before_ms == 0 ? 0 : job.batch_time() - before_ms)};
      ASSERT_EQ(job.watermark(), arrived.watermark_ms) << "seed " << seed << ", batch " << number;
      for (const auto& [partition, records] : sent) {
        for (const Sent& each : records) {
          arrived.records.push_back(each);
          watermark.came(partition, each.time_ms);
          if (last_end(each.time_ms) <= arrived.watermark_ms) ++late;
        }
      }
      const ModelTable expected = reference(arrived);
      ASSERT_EQ(job.table(), expected) << "seed " << seed << ", batch " << number;
      if (traffic.below(3) == 0) job.checkpoint();
      if (traffic.below(3) == 0) {
        job.crash();
        ASSERT_EQ(job.table(), expected) << "after a crash; seed " << seed << ", batch " << number;
      }
    }
    EXPECT_EQ(job.late_records(), late) << "seed " << seed;
    EXPECT_TRUE(job.dead_letters().empty());
    late_at_all += late;
  }
  EXPECT_GT(late_at_all, 10) << "too few records were late for this to say something";
}

// --- tumbling and sliding windows ----------------------------------------------------------------------------------

// How many values each window has, as plain code sees it: all of `length` that begin at multiples of `slide`.
struct PlainWindows {
  int64_t length;
  int64_t slide;
  std::map<std::pair<std::string, int64_t>, int64_t> counts;  // by key and begin

  void add(const Arrived& arrived) {
    for (const Sent& sent : arrived.records) {
      for (int64_t begin = (sent.time_ms / slide - length / slide - 1) * slide; begin <= sent.time_ms; begin += slide) {
        if (begin + length > sent.time_ms && begin + length > arrived.watermark_ms) ++counts[{sent.key, begin}];
      }
    }
  }
  [[nodiscard]] ModelTable shown(const std::function<bool(int64_t end)>& want) const {
    ModelTable table;
    for (const auto& [window, count] : counts) {
      if (want(window.second + length)) table[window.first + "@" + utc_text(window.second)] = std::to_string(count);
    }
    return table;
  }
};

std::function<Reference()> plain_windows(int64_t length, int64_t slide,
                                         const std::function<bool(int64_t end, int64_t watermark)>& want) {
  return [=]() -> Reference {
    return [=, windows = PlainWindows{length, slide, {}}](const Arrived& arrived) mutable -> ModelTable {
      windows.add(arrived);
      return windows.shown([&](int64_t end) { return want(end, arrived.watermark_ms); });
    };
  };
}
bool is_open(int64_t end, int64_t watermark) {
  return end > watermark;
}
std::function<int64_t(int64_t)> last_end(int64_t length, int64_t slide) {
  return [=](int64_t time_ms) { return time_ms / slide * slide + length; };
}

MILLRACE_TEST_JOB(tumbling) {
  events(job).tumbling(1s).count_by_value({.keep = 0s}).publish("counts").rank("top", 5);
}
TEST(EventTime, a_tumbling_window_is_shown_while_it_is_open) {
  expect_reference(tumbling, last_end(1000, 1000), plain_windows(1000, 1000, is_open));
}

MILLRACE_TEST_JOB(kept) {
  events(job).sliding(2s, 1s).count_by_value({.keep = 3s}).publish("counts");
}
TEST(EventTime, a_window_stays_for_a_while_when_it_is_final) {
  expect_reference(kept, last_end(2000, 1000),
                   plain_windows(2000, 1000, [](int64_t end, int64_t watermark) { return end + 3000 > watermark; }));
}

MILLRACE_TEST_JOB(complete) {
  events(job).tumbling(1s).count_by_value({.keep = EventTableOptions::kForEver}).publish("counts");
}
TEST(EventTime, all_windows_stay_where_they_are_kept_for_ever) {
  expect_reference(complete, last_end(1000, 1000), plain_windows(1000, 1000, [](int64_t, int64_t) { return true; }));
}

// What closed() gives, added up: a window that came twice would count twice.
auto added_up(const auto& closed) {
  return closed
      .map([](const auto& window) { return std::pair(window.key + "@" + utc_text(window.begin_ms), window.value); })
      .reduce_by_key(SaturatingSum(), "closed");
}
MILLRACE_TEST_JOB(append) {
  added_up(events(job).sliding(3s, 1s).count_by_value({.keep = 2s}).closed()).publish("closed");
}
TEST(EventTime, a_window_is_given_once_when_it_is_final) {
  expect_reference(append, last_end(3000, 1000),
                   plain_windows(3000, 1000, [](int64_t end, int64_t watermark) { return end <= watermark; }));
}

MILLRACE_TEST_JOB(too_late) {
  const auto seconds = events(job).tumbling(1s);
  seconds.count_by_value({.name = "shown"}).closed();
  seconds.late().map([](const auto& late) { return late.value; }).count_by_value("late").publish("late");
}
TEST(EventTime, what_is_late_goes_to_a_stream_of_its_own) {
  expect_reference(too_late, last_end(1000, 1000), []() -> Reference {
    return [late = ModelTable()](const Arrived& arrived) mutable {
      for (const Sent& sent : arrived.records) {
        if (sent.time_ms / 1000 * 1000 + 1000 > arrived.watermark_ms) continue;
        std::string& count = late[sent.key];
        count = std::to_string(count.empty() ? 1 : std::stoi(count) + 1);
      }
      return late;
    };
  });
}

// --- sessions ----------------------------------------------------------------------------------------------------

constexpr int64_t kGap = 400;

struct PlainSession {
  int64_t begin;
  int64_t last;
  int count;
};
struct PlainSessions {
  std::map<std::string, std::vector<PlainSession>> open;
  ModelTable closed;

  void add(const Arrived& arrived) {
    for (const Sent& sent : arrived.records) {
      if (sent.time_ms + kGap <= arrived.watermark_ms) continue;
      PlainSession whole{sent.time_ms, sent.time_ms, 1};
      std::vector<PlainSession> next;
      for (const PlainSession& session : open[sent.key]) {
        if (session.begin - sent.time_ms >= kGap || sent.time_ms - session.last >= kGap) {
          next.push_back(session);
        } else {
          whole = {std::min(whole.begin, session.begin), std::max(whole.last, session.last),
                   whole.count + session.count};
        }
      }
      next.push_back(whole);
      std::ranges::sort(next, {}, &PlainSession::begin);
      open[sent.key] = next;
    }
    for (auto& [key, sessions] : open) {
      std::erase_if(sessions, [&](const PlainSession& session) {
        if (session.last + kGap > arrived.watermark_ms) return false;
        closed[key + "@" + utc_text(session.begin)] = std::to_string(session.count);
        return true;
      });
    }
  }
  [[nodiscard]] ModelTable shown() const {
    ModelTable table;
    for (const auto& [key, sessions] : open) {
      std::string text;
      for (const auto& [begin, last, count] : sessions) {
        text += (text.empty() ? "[\"" : ",[\"") + utc_text(begin) + "\",\"" + utc_text(last) + "\"," +
                std::to_string(count) + "]";
      }
      if (!text.empty()) table[key] = "[" + text + "]";
    }
    return table;
  }
};

MILLRACE_TEST_JOB(open_sessions) {
  events(job).sessions(std::chrono::milliseconds(kGap)).count_by_value().publish("sessions");
}
MILLRACE_TEST_JOB(closed_sessions) {
  added_up(events(job).sessions(std::chrono::milliseconds(kGap)).count_by_value().closed()).publish("closed");
}
TEST(EventTime, sessions_grow_together_and_end) {
  const auto last_of = [](int64_t time_ms) { return time_ms + kGap; };
  expect_reference(open_sessions, last_of, []() -> Reference {
    return [sessions = PlainSessions()](const Arrived& arrived) mutable {
      sessions.add(arrived);
      return sessions.shown();
    };
  });
  expect_reference(closed_sessions, last_of, []() -> Reference {
    return [sessions = PlainSessions()](const Arrived& arrived) mutable {
      sessions.add(arrived);
      return sessions.closed;
    };
  });
}

// --- the rest ------------------------------------------------------------------------------------------------------

MILLRACE_TEST_JOB(how_many_closed) {
  events(job).tumbling(1s).count_by_value().closed().count().publish("closed");
}
TEST(EventTime, a_session_that_goes_on_takes_no_memory_for_each_of_its_values) {
  internal::SessionTable<int64_t, SaturatingSum> table(0, {.gap_ms = 1'000'000}, {});
  int64_t early_bytes = 0;
  for (int64_t batch = 1; batch <= 20'000; ++batch) {
    const internal::SessionValue<int64_t> value{kBegin + batch, 1};
    std::string section = {1, 1, 'a'};  // one pair, its key's size and the key
    section.resize(section.size() + Codec<internal::SessionValue<int64_t>>::size(value));
    Codec<internal::SessionValue<int64_t>>::encode(section.data() + 3, value);
    ASSERT_TRUE(table.apply({BatchId(batch)}, std::vector<std::string_view>{section}));
    table.forget_undo(BatchId(batch));
    if (batch == 100) early_bytes = table.memory_bytes();
  }
  EXPECT_EQ(table.memory_bytes(), early_bytes);
}

TEST(EventTime, a_leap_of_the_watermark_closes_a_bounded_part_in_each_batch) {
  TestJob job(how_many_closed, {.state_partitions = 1});
  for (int key = 0; key < 45'000; ++key) job.push(std::to_string(key) + " " + std::to_string(kBegin));
  job.push("last " + std::to_string(kBegin + 10'000));
  job.run_batch();
  EXPECT_EQ(job.get("all"), std::nullopt);
  job.checkpoint();
  job.run_batch();
  EXPECT_EQ(job.get("all"), "20000");
  job.run_batch();
  job.crash();
  EXPECT_EQ(job.get("all"), "40000");
  job.run_batch();
  EXPECT_EQ(job.get("all"), "45000");
  job.end_input();
  job.run_batch();
  job.run_batch();
  EXPECT_EQ(job.get("all"), "45001");
}

TEST(EventTime, at_the_end_of_the_input_windows_stay_in_the_table) {
  TestJob job(tumbling);
  job.push("a " + std::to_string(kBegin));
  job.run_batch();
  job.end_input();
  job.run_batch();
  EXPECT_EQ(job.table(), (ModelTable{{"a@2026-11-18T11:06:40Z", "1"}}));
}

TEST(EventTime, a_record_without_a_time_is_refused_and_moves_nothing) {
  TestJob job(tumbling);
  for (const char* line : {"a 0", "b -5", "c 253402300800000", "d"}) job.push(line);
  job.run_batch();
  job.run_batch();
  EXPECT_EQ(job.watermark(), 0);
  ASSERT_EQ(job.dead_letters().size(), 4U);
  EXPECT_THAT(job.dead_letters()[2].reason, HasSubstr("253402300800000 ms since 1970 is none"));
  EXPECT_EQ(job.records(), 4);
}

TEST(EventTime, a_record_too_far_ahead_of_its_batch_is_refused_and_moves_nothing) {
  const auto job = make_job(tumbling, {});
  ASSERT_TRUE(job.has_value()) << job.error().message;
  const auto task = (*job)->make_map_task();
  RecordBatchBuilder builder;
  builder.add(Offset(0), 0, std::nullopt, "a " + std::to_string(kBegin));
  builder.add(Offset(1), 0, std::nullopt, "b " + std::to_string(kBegin + 3'600'001));
  MapReport report;
  task->begin({.batch_ms = kBegin, .watermark_ms = 0});
  ASSERT_TRUE(task->map(LogPartition(0), {Offset(0), Offset(2)}, builder.finish(), report).has_value());
  EXPECT_EQ(report.event_ms, kBegin);
  ASSERT_EQ(report.letters.size(), 1U);
  EXPECT_THAT(report.letters[0].reason, HasSubstr("3600000 ms ahead of its batch's, 2026-11-18T11:06:40Z"));
}

TEST(WindowKeys, are_texts_that_give_the_key_again) {
  std::string buffer;
  for (const std::string key : {"", "a", "a@b", "@2026-11-18T11:06:40Z"}) {
    for (const int64_t begin : {int64_t{-1000}, int64_t{0}, kBegin, kBegin + 7, kLastEventTime_ms}) {
      const std::string text(KeyText<WindowKey<std::string>>::view({key, begin}, buffer));
      WindowKey<std::string> parsed;
      ASSERT_TRUE(KeyText<WindowKey<std::string>>::parse(text, parsed)) << text;
      EXPECT_EQ(parsed, (WindowKey<std::string>{key, begin}));
    }
  }
  WindowKey<std::string> parsed;
  for (const char* text : {"", "a", "a@", "a@2026-11-18", "a@2026-11-18T11:06:40.000Z"}) {
    EXPECT_FALSE(KeyText<WindowKey<std::string>>::parse(text, parsed)) << text;
  }
}

// Rows of what does not fit, and a piece of the sentence that says so.
TEST(EventTime, what_does_not_fit_is_an_error_of_the_definition) {
  using Define = void (*)(JobBuilder& job);
  const auto times = [](const auto& stream, EventTimeOptions options = {}) {
    return stream.event_time([](const Record& record) { return record.timestamp_ms; }, options)
        .map([](const Record& record) { return std::string(record.value); });
  };
  static const auto kTimes = times;
  const std::vector<std::pair<Define, std::string>> rows = {
      {[](JobBuilder& job) { kTimes(job.records()), kTimes(job.records()); }, "gives event times twice"},
      {[](JobBuilder& job) {
         job.lines().count_by_value().changes().event_time([](const auto&) { return int64_t{1}; });
       },
       "behind a shuffle"},
      {[](JobBuilder& job) { kTimes(job.records(), {.delay = -1ms}); }, "a delay of -1ms"},
      {[](JobBuilder& job) { kTimes(job.records(), {.idle = -1ms}); }, "an idle time of -1ms"},
      {[](JobBuilder& job) { kTimes(job.records()).tumbling(0s); }, "a window of 0ms"},
      {[](JobBuilder& job) { kTimes(job.records()).tumbling(1500ms); }, "not of whole seconds"},
      {[](JobBuilder& job) { kTimes(job.records()).sliding(1s, 2s); }, "the slide is no longer than the window"},
      {[](JobBuilder& job) { kTimes(job.records()).sliding(65s, 1s); }, "more than 64 times"},
      {[](JobBuilder& job) { kTimes(job.records()).sessions(0s); }, "a session's gap of 0ms"},
      {[](JobBuilder& job) { kTimes(job.records()).sessions(1s).count({.keep = 1h}); }, "sessions go from their table"},
      {[](JobBuilder& job) { kTimes(job.records()).tumbling(1s).count({.keep = -1s}); }, "cannot be kept for -1s"},
      {[](JobBuilder& job) { kTimes(job.records()).tumbling(1s).count().changes(); }, "or keep them for ever"},
      {[](JobBuilder& job) {
         kTimes(job.records()).sessions(1s).count().count_by([](const auto&, const auto&) { return int64_t{1}; });
       },
       "take closed()"},
  };
  for (const auto& [define, sentence] : rows) {
    const auto job = make_job(JobDefinition{"wrong", "", define}, {});
    ASSERT_FALSE(job.has_value()) << sentence;
    EXPECT_THAT(job.error().message, HasSubstr(sentence));
  }
}

// --- the watermark -------------------------------------------------------------------------------------------------

TEST(Watermark, is_the_least_of_the_partitions_that_are_not_idle) {
  Watermark watermark({.delay_ms = 10, .idle_ms = 1600}, 100, 0);
  watermark.add(LogPartition(0));
  watermark.add(LogPartition(1));
  watermark.tell(LogPartition(0), 5000);
  EXPECT_EQ(watermark.take(100, {}), 0) << "the other one has told nothing";
  EXPECT_EQ(watermark.holder(), LogPartition(1));
  watermark.tell(LogPartition(1), 3000);
  EXPECT_EQ(watermark.take(200, {}), 2990);
  watermark.tell(LogPartition(1), 2000);
  EXPECT_EQ(watermark.take(300, {}), 2990) << "it never goes back";
  EXPECT_EQ(watermark.take(1'000'000, {}), 2990) << "a pause is not the same as being quiet";
  int64_t time_ms = 1'000'000;
  for (int batch = 0; batch < 20; ++batch) {
    watermark.tell(LogPartition(0), 6000);
    watermark.take(time_ms += 100, {.unread = {LogPartition(1)}});
  }
  EXPECT_EQ(watermark.newest(), 2990) << "it has records that nobody has read";
  watermark.tell(LogPartition(0), 6000);
  EXPECT_EQ(watermark.take(time_ms += 100, {}), 5990);
  for (int batch = 0; batch < 40; ++batch) watermark.take(time_ms += 100, {});
  EXPECT_EQ(watermark.newest(), 5990) << "all are idle: it stays";
  EXPECT_EQ(watermark.holder(), std::nullopt);
}

TEST(Watermark, is_not_held_back_by_a_partition_that_never_had_a_record_nor_judged_without_the_log) {
  Watermark watermark({.delay_ms = 0, .idle_ms = 1600}, 100, 700);
  watermark.add(LogPartition(0));
  watermark.add(LogPartition(1));
  watermark.tell(LogPartition(0), 5000);
  int64_t time_ms = 100;
  for (int batch = 0; batch < 40; ++batch) {
    watermark.tell(LogPartition(0), 5000);
    EXPECT_EQ(watermark.take(time_ms += 100, {.blind = true}), 700) << "what is recorded";
  }
  EXPECT_EQ(watermark.take(time_ms += 100, {.never_written = {LogPartition(1)}}), 5000);
}

}  // namespace
}  // namespace millrace
