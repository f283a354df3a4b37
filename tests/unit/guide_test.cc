// The code of docs/programming-guide.md, with a test for each job. tests/lint compares the guide with this file.
#include <gtest/gtest.h>
#include <millrace/job.h>
#include <millrace/testing.h>

#include <charconv>
#include <cstdio>
#include <expected>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

MILLRACE_JOB(word_lengths, "how many words of each length a text has") {
  job.lines()
      .flat_map(millrace::split_words)
      .map([](std::string_view word) noexcept { return static_cast<int64_t>(word.size()); })
      .count_by_value()
      .publish("lengths");
}

TEST(WordLengths, are_counted_through_a_crash) {
  millrace::testing::TestJob job(millrace_job_word_lengths);
  job.push("to be or not to be");
  job.run_batch();
  job.checkpoint();
  job.push("that is the question");
  job.run_batch();
  job.crash();
  EXPECT_EQ(job.table(), (std::map<std::string, std::string>{{"2", "6"}, {"3", "2"}, {"4", "1"}, {"8", "1"}}));
}

// "station;tenths of a degree"
using Reading = std::pair<std::string_view, int64_t>;

std::expected<Reading, std::string> parse_reading(std::string_view line) noexcept {
  const size_t border = line.find(';');
  if (border == std::string_view::npos) return std::unexpected("has no ';'");
  const std::string_view digits = line.substr(border + 1);
  int64_t tenths = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), tenths);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return std::unexpected("'" + std::string(digits) + "' is no number of tenths");
  }
  return Reading(line.substr(0, border), tenths);
}

MILLRACE_JOB(hottest, "the highest temperature of each station") {
  job.lines()
      .map(parse_reading)
      .reduce_by_key([](int64_t a, int64_t b) { return std::max(a, b); })
      .publish("hottest")
      .rank("top", 10);
}

TEST(Hottest, refuses_what_is_no_reading) {
  millrace::testing::TestJob job(millrace_job_hottest);
  job.push("oslo;-35");
  job.push("oslo");
  job.push("lima;214");
  job.push("oslo;12");
  job.run_batch();
  EXPECT_EQ(job.top(1), (std::vector<std::pair<std::string, std::string>>{{"lima", "214"}}));
  EXPECT_EQ(job.get("oslo"), "12");
  ASSERT_EQ(job.dead_letters().size(), 1U);
  EXPECT_EQ(job.dead_letters().front().reason, "has no ';'");
}

struct Extremes {
  int64_t lowest;
  int64_t highest;
  MILLRACE_FIELDS(Extremes, lowest, highest)
};

MILLRACE_JOB(extremes, "the lowest and the highest temperature of each station; the highest alone in version 1") {
  job.lines()
      .map(parse_reading)
      .map([](const Reading& reading) { return std::pair(reading.first, Extremes{reading.second, reading.second}); })
      .reduce_by_key([](Extremes& into, const Extremes& from) {
        into = {std::min(into.lowest, from.lowest), std::max(into.highest, from.highest)};
      })
      .migrate_from<int64_t>([](int64_t highest) { return Extremes{highest, highest}; })
      .map_values([](const Extremes& seen) { return std::pair(seen.lowest, seen.highest); })
      .publish("extremes");
}

TEST(Extremes, go_on_from_what_was_the_highest) {
  millrace::testing::TestJob job(millrace_job_hottest);
  job.push("oslo;10");
  job.run_batch();
  job.upgrade(millrace_job_extremes);
  EXPECT_EQ(job.get("oslo"), "[10,10]");
  job.push("oslo;-5");
  job.run_batch();
  job.crash();
  EXPECT_EQ(job.get("oslo"), "[-5,10]");
}

struct Mean {
  int64_t sum;
  int64_t count;
  MILLRACE_FIELDS(Mean, sum, count)
};

MILLRACE_JOB(mean_temperature, "the mean temperature of each station, in tenths of a degree") {
  job.lines()
      .map(parse_reading)
      .map([](const Reading& reading) noexcept { return std::pair(reading.first, Mean{reading.second, 1}); })
      .reduce_by_key([](Mean& into, const Mean& from) {
        into.sum += from.sum;
        into.count += from.count;
      })
      .map_values([](const Mean& mean) { return static_cast<double>(mean.sum) / static_cast<double>(mean.count); })
      .publish("mean");
}

TEST(MeanTemperature, is_exact) {
  millrace::testing::TestJob job(millrace_job_mean_temperature);
  job.push("oslo;10");
  job.run_batch();
  job.push("oslo;15", 1);
  job.run_batch();
  EXPECT_EQ(job.get("oslo"), "12.5");
}

struct Click {
  std::string user;
  int64_t page;
  MILLRACE_FIELDS(Click, user, page)
};

// "USER PAGE"
Click parse_click(std::string_view line) {
  const size_t border = line.find(' ');
  return {std::string(line.substr(0, border)), std::stoll(std::string(line.substr(border + 1)))};
}

MILLRACE_JOB(clicks, "clicks as JSON, and whenever a user's number of them changes") {
  const auto clicks = job.lines().map(parse_click);
  clicks.write("clicks", millrace::json_lines);  // {"user":"ann","page":7}
  clicks.map([](const Click& click) { return click.user; })
      .count_by_value()
      .changes()
      .write("numbers", millrace::json_lines, {.parts = 4});  // {"key":"ann","before":null,"after":1}
}

TEST(Clicks, are_written_as_json) {
  millrace::testing::TestJob job(millrace_job_clicks);
  job.push("ann 7");
  job.run_batch();
  EXPECT_EQ(job.lines("clicks"), (std::vector<std::string>{R"({"user":"ann","page":7})"}));
}

MILLRACE_JOB(told_words, "words, told batch by batch") {
  job.lines()
      .flat_map(millrace::split_words)
      .for_each_batch("told", [](const millrace::BatchOfOutput& of, std::span<const std::string> words) {
        for (const std::string& word : words)
          std::fprintf(stderr, "batch %lld: %s\n", static_cast<long long>(of.batch), word.c_str());
      });
}

MILLRACE_JOB(letter_pairs, "how often two letters stand side by side in long words") {
  const auto least = static_cast<size_t>(job.number("least", 2, 2, 100, "the least length of a word, in bytes"));
  job.lines()
      .flat_map(millrace::split_words)
      .filter([least](std::string_view word) noexcept { return word.size() >= least; })
      .flat_map(millrace::emitting<std::string_view>([](std::string_view word, auto& emit) {
        for (size_t i = 0; i + 2 <= word.size(); ++i) emit(word.substr(i, 2));
      }))
      .count_by_value()
      .publish("pairs")
      .rank("top", 100);
}

TEST(LetterPairs, have_a_setting) {
  millrace::testing::TestJob job(millrace_job_letter_pairs, {.settings = {{"least", "4"}}});
  job.push("mississippi is it");
  job.run_batch();
  EXPECT_EQ(job.get("ss"), "2");
  EXPECT_EQ(job.get("it"), std::nullopt);
}

// So many readings above the limit in a row; a reading below it ends the alarm.
MILLRACE_JOB(heat_alarm, "stations that are too hot, and for how many readings") {
  const int64_t limit = job.number("limit", 300, -1000, 1000, "tenths of a degree");
  job.lines()
      .map(parse_reading)
      .update_state_by_key<int64_t>(
          [limit](std::span<const int64_t> readings, std::optional<int64_t> streak) {
            for (const int64_t reading : readings) {
              if (reading > limit) {
                streak = streak.value_or(0) + 1;
              } else {
                streak.reset();
              }
            }
            return streak;
          },
          {.name = "streaks", .only_changed = true})
      .publish("alarms");
}

TEST(HeatAlarm, begins_and_ends) {
  millrace::testing::TestJob job(millrace_job_heat_alarm);
  job.push("kairo;310");
  job.push("kairo;320");
  job.push("oslo;12");
  job.run_batch();
  EXPECT_EQ(job.table(), (std::map<std::string, std::string>{{"kairo", "2"}}));
  job.push("kairo;290");
  job.run_batch();
  EXPECT_TRUE(job.table().empty());
}

using namespace std::chrono_literals;

MILLRACE_JOB(active_users, "users of the last half hour; a record's key is its user") {
  job.records()
      .filter([](const millrace::Record& record) noexcept { return record.has_key; })
      .map([](const millrace::Record& record) noexcept { return record.key; })
      .distinct({.name = "users", .time_to_live = 30min})
      .publish("active");
}

TEST(ActiveUsers, go_after_half_an_hour) {
  millrace::testing::TestJob job(millrace_job_active_users);
  job.push({.key = "ann", .value = "opened a page"});
  job.run_batch();
  job.advance(20min);
  job.push({.key = "bob", .value = "opened a page"});
  job.run_batch();
  EXPECT_EQ(job.table().size(), 2U);
  job.advance(20min);
  job.run_batch();
  EXPECT_EQ(job.table(), (std::map<std::string, std::string>{{"bob", "1"}}));
}

MILLRACE_JOB(pages_of_words, "the pages in which each word occurs; a record's key is its page") {
  job.records()
      .flat_map(millrace::emitting<std::pair<std::string, std::string>>([](const millrace::Record& record, auto& emit) {
        auto word = [&](std::string_view each) { emit(std::pair(std::string(each), std::string(record.key))); };
        return millrace::split_words(record.value, word);
      }))
      .index_by_key("pages")
      .publish("pages");
}

TEST(PagesOfWords, are_ordered_by_how_often_the_word_occurs) {
  millrace::testing::TestJob job(millrace_job_pages_of_words);
  job.push({.key = "play", .value = "to be or not to be"});
  job.push({.key = "song", .value = "let it be"});
  job.run_batch();
  EXPECT_EQ(job.get("be"), "2");  // pages
  using Docs = std::vector<std::pair<std::string, int64_t>>;
  EXPECT_EQ(job.docs("be", 10), (Docs{{"play", 2}, {"song", 1}}));
  EXPECT_EQ(job.docs("be", 10, {{"play", 2}}), (Docs{{"song", 1}}));  // what stands behind it
}

MILLRACE_JOB(hot_words, "words of the last minute, each second anew") {
  job.lines().flat_map(millrace::split_words).window(60s, 1s).count_by_value().publish("counts").rank("top", 10);
}

TEST(HotWords, cool_down) {
  millrace::testing::TestJob job(millrace_job_hot_words);
  job.push("fire fire");
  job.run_batch();
  job.advance(1s);
  job.run_batch();
  EXPECT_EQ(job.get("fire"), "2");
  job.advance(61s);
  job.run_batch();
  EXPECT_EQ(job.get("fire"), std::nullopt);
}

MILLRACE_JOB(newest_batch, "how many records the newest batch has") {
  job.records().each_batch().count().publish("newest");
}

TEST(NewestBatch, forgets_the_one_before) {
  millrace::testing::TestJob job(millrace_job_newest_batch);
  job.push("a");
  job.push("b");
  job.run_batch();
  EXPECT_EQ(job.get("all"), "2");
  job.push("c");
  job.run_batch();
  EXPECT_EQ(job.get("all"), "1");
}

MILLRACE_JOB(views, "how often each page was seen in each minute; a record's key is its page") {
  job.records()
      .filter([](const millrace::Record& record) { return record.has_key; })
      .event_time(millrace::from_record_timestamp(), {.delay = 10s})
      .map([](const millrace::Record& record) { return std::string(record.key); })
      .tumbling(60s)
      .count_by_value({.keep = 1h})
      .publish("views");
}

TEST(Views, count_in_the_minute_in_which_they_were_made) {
  millrace::testing::TestJob job(millrace_job_views);
  const auto view = [&job](const std::string& page, const std::string& time) {
    int64_t time_ms = 0;
    ASSERT_TRUE(millrace::parse_utc(time, time_ms));
    job.push({.key = page, .timestamp_ms = time_ms});
  };
  view("home", "2026-11-21T20:30:58Z");
  view("home", "2026-11-21T20:31:03Z");
  view("home", "2026-11-21T20:30:59Z");
  job.run_batch();
  EXPECT_EQ(job.get("home@2026-11-21T20:30:00Z"), "2");
  EXPECT_EQ(job.get("home@2026-11-21T20:31:00Z"), "1");
  view("home", "2026-11-21T20:31:20Z");
  job.run_batch();
  view("home", "2026-11-21T20:30:59Z");  // ten seconds are over
  job.run_batch();
  EXPECT_EQ(job.get("home@2026-11-21T20:30:00Z"), "2");
  EXPECT_EQ(job.late_records(), 1);
}

MILLRACE_JOB(busy_minutes, "how many minutes each page had with at least so many views") {
  const int64_t least = job.number("least", 3, 1, 1'000'000, "views that make a minute a busy one");
  const auto minutes = job.records()
                           .filter([](const millrace::Record& record) { return record.has_key; })
                           .event_time(millrace::from_record_timestamp(), {.delay = 10s})
                           .map([](const millrace::Record& record) { return std::string(record.key); })
                           .tumbling(60s);
  minutes.count_by_value({.name = "views"})
      .closed()
      .filter([least](const auto& minute) { return minute.value >= least; })
      .map([](const auto& minute) { return minute.key; })
      .count_by_value("busy")
      .publish("busy");
}

TEST(BusyMinutes, count_when_they_are_over) {
  millrace::testing::TestJob job(millrace_job_busy_minutes, {.settings = {{"least", "2"}}});
  for (const int64_t second : {1, 2, 61, 200}) {
    job.push({.key = "home", .timestamp_ms = 1'795'000'020'000 + second * 1000});
  }
  job.run_batch();
  EXPECT_TRUE(job.table().empty());
  job.run_batch();
  EXPECT_EQ(job.table(), (std::map<std::string, std::string>{{"home", "1"}}));
}

// "order ID CITY", "paid ID"
std::pair<std::string, std::string> id_and_city(std::string_view line) {
  const size_t border = line.find(' ', 6);
  return {std::string(line.substr(6, border - 6)), std::string(line.substr(border + 1))};
}

MILLRACE_JOB(paid_orders, "how many orders of each city were paid within a day, and how many cities have so many") {
  const auto lines = job.lines();
  const auto orders = lines.filter([](std::string_view line) { return line.starts_with("order "); }).map(id_and_city);
  const auto paid =
      lines.filter([](std::string_view line) { return line.starts_with("paid "); }).map([](std::string_view line) {
        return std::pair(std::string(line.substr(5)), true);
      });
  orders.join(paid, {.time_to_live = 24h})
      .map([](const auto& joined) { return joined.second.first; })
      .count_by_value("paid")
      .count_by([](const std::string&, int64_t orders_of_city) { return orders_of_city; })
      .publish("cities");
}

TEST(PaidOrders, are_counted_by_city_and_cities_by_these_counts) {
  millrace::testing::TestJob job(millrace_job_paid_orders);
  for (const char* line : {"order 1 oslo", "order 2 lima", "paid 1", "order 3 oslo", "order 4 bonn"}) job.push(line);
  job.run_batch();
  EXPECT_EQ(job.table(), (std::map<std::string, std::string>{{"1", "1"}}));
  job.push("paid 2");
  job.push("paid 3");
  job.run_batch();
  EXPECT_EQ(job.table(), (std::map<std::string, std::string>{{"1", "1"}, {"2", "1"}}));
  job.advance(25h);
  job.push("paid 4");
  job.run_batch();
  EXPECT_EQ(job.table(), (std::map<std::string, std::string>{{"1", "1"}, {"2", "1"}}));
}

MILLRACE_JOB(mentions, "how often a name is written with @ or with #") {
  const auto words = job.lines().flat_map(millrace::split_words);
  const auto marked = [&words](char mark) {
    return words.filter([mark](std::string_view word) noexcept { return word.size() > 1 && word.front() == mark; })
        .map([](std::string_view word) { return std::string(word.substr(1)); });
  };
  marked('@').union_with(marked('#')).count_by_value().publish("mentions");
}

TEST(Mentions, of_both_kinds_are_counted_together) {
  millrace::testing::TestJob job(millrace_job_mentions);
  job.push("@ann meets #ann and @bob");
  job.run_batch();
  EXPECT_EQ(job.table(), (std::map<std::string, std::string>{{"ann", "2"}, {"bob", "1"}}));
}

MILLRACE_JOB(words_by_length, "how often each word came, and how many words there are of each length") {
  const auto counts = job.lines().flat_map(millrace::split_words).count_by_value().publish("counts").rank("top", 100);
  counts.count_by([](const std::string& word, int64_t) { return static_cast<int64_t>(word.size()); })
      .publish("lengths")
      .rank("commonest", 3);
}

TEST(WordsByLength, are_two_tables) {
  millrace::testing::TestJob job(millrace_job_words_by_length);
  job.push("to be or not to be");
  job.run_batch();
  job.crash();
  EXPECT_EQ(job.get("be", "counts"), "2");
  EXPECT_EQ(job.table("lengths"), (std::map<std::string, std::string>{{"2", "3"}, {"3", "1"}}));
  EXPECT_EQ(job.top(1, "lengths"), (std::vector<std::pair<std::string, std::string>>{{"2", "3"}}));
}
