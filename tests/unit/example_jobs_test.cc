// The built-in jobs, through the test kit, as their users' tests would do it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "millrace/testing.h"

extern const millrace::JobDefinition millrace_job_alarm;
extern const millrace::JobDefinition millrace_job_click_through;
extern const millrace::JobDefinition millrace_job_inverted_index;
extern const millrace::JobDefinition millrace_job_recent_words;
extern const millrace::JobDefinition millrace_job_user_counts;
extern const millrace::JobDefinition millrace_job_user_sessions;

namespace millrace {
namespace {

using millrace::testing::TestJob;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(RecentWords, rise_with_what_comes_and_vanish_with_what_is_old) {
  TestJob job(millrace_job_recent_words, {.settings = {{"window", "2s"}, {"slide", "1s"}, {"words", "unicode"}}});
  job.advance(seconds(10));
  job.push("The sea, the SEA");
  job.run_batch();
  job.advance(seconds(1));
  job.push("the moon");
  job.run_batch();
  job.checkpoint();
  job.crash();
  job.advance(seconds(1));
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("moon", "1"), Pair("sea", "2"), Pair("the", "3")));
  job.advance(seconds(3));
  job.run_batch();
  EXPECT_THAT(job.table(), IsEmpty());
  EXPECT_THAT(job.top(3), IsEmpty());
}

TEST(RecentWords, windows_that_do_not_fit_the_batches_are_refused) {
  try {
    TestJob job(millrace_job_recent_words, {.settings = {{"window", "1s"}, {"slide", "150ms"}}});
    ADD_FAILURE() << "it was taken";
  } catch (const std::invalid_argument& problem) {
    EXPECT_THAT(problem.what(), ::testing::HasSubstr("150"));
  }
  EXPECT_THROW(TestJob(millrace_job_recent_words, {.settings = {{"window", "long"}}}), std::invalid_argument);
}

TEST(UserCounts, count_records_by_their_keys) {
  TestJob job(millrace_job_user_counts);
  job.push({.key = "ann", .value = "hello"});
  job.push({.key = "bob", .value = "good morning"}, 1);
  job.push({.key = "ann", .value = std::nullopt});
  job.push({.value = "from nobody"});
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("ann", "2"), Pair("bob", "1")));
}

TEST(UserSessions, end_when_their_users_are_silent) {
  TestJob job(millrace_job_user_sessions, {.settings = {{"gap", "60s"}, {"delay", "5s"}}});
  const auto visit = [&job](const std::string& user, const std::string& clock) {
    job.push(R"({"user":")" + user + R"(","time":"2026-11-21T)" + clock + R"(Z"})");
  };
  visit("ann", "20:30:00");
  visit("ann", "20:30:40");
  visit("bob", "20:31:00");
  visit("ann", "20:30:20");
  visit("ann", "20:31:40");
  job.push(R"({"user":"ann","time":"yesterday"})");
  job.run_batch();
  EXPECT_THAT(job.table(), IsEmpty());
  visit("bob", "20:32:10");
  job.run_batch();
  job.checkpoint();
  job.crash();
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("ann", "[1,3,40]"), Pair("bob", "[1,1,0]")));
  visit("ann", "20:30:59");
  job.end_input();
  job.run_batch();
  EXPECT_THAT(job.top(2), ElementsAre(Pair("ann", "[2,4,40]"), Pair("bob", "[2,2,0]")));
  EXPECT_EQ(job.late_records(), 1);
  ASSERT_EQ(job.dead_letters().size(), 1u);
  EXPECT_EQ(job.dead_letters().front().reason, "'yesterday' is no time as 2026-11-21T20:30:00Z");
}

std::string impression(const std::string& id, const std::string& ad) {
  return R"({"type":"impression","id":")" + id + R"(","ad":")" + ad + "\"}";
}
std::string click(const std::string& id) {
  return R"({"type":"click","id":")" + id + "\"}";
}
TEST(ClickThrough, counts_clicks_that_come_within_the_time_to_live_of_their_impression) {
  TestJob job(millrace_job_click_through, {.settings = {{"time-to-live", "1m"}}});
  job.push(impression("1", "shoes"));
  job.push(impression("2", "hats"), 1);
  job.push(click("3"), 1);
  job.push(R"({"type":"scroll"})");
  job.run_batch();
  job.checkpoint();
  EXPECT_THAT(job.table(), IsEmpty());
  job.advance(seconds(30));
  job.push(click("1"));
  job.push(click("2"));
  job.push(click("2"), 1);
  job.push(impression("3", "hats"));
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("hats", "3"), Pair("shoes", "1")));
  job.crash();
  job.advance(seconds(60));
  job.push(click("1"));
  job.push(click("3"));
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("hats", "3"), Pair("shoes", "1")));
  EXPECT_THAT(job.top(1), ElementsAre(Pair("hats", "3")));
  EXPECT_THAT(job.dead_letters(), IsEmpty());
}

TEST(ClickThrough, what_is_no_event_is_a_dead_letter) {
  TestJob job(millrace_job_click_through);
  for (const char* record : {"shoes", R"({"id":"1"})", R"({"type":"click"})", R"({"type":"impression","id":"1"})"}) {
    job.push(record);
  }
  job.run_batch();
  ASSERT_EQ(job.dead_letters().size(), 4U);
  EXPECT_EQ(job.dead_letters().back().reason, "the JSON object has no field 'ad'");
}

std::string told(const std::string& key, const std::string& alarm, const std::string& level, const std::string& time) {
  return R"({"key":")" + key + R"(","alarm":")" + alarm + R"(","level":)" + level + R"(,"time":"1970-01-01T00:)" +
         time + R"(Z"})";
}
TEST(InvertedIndex, has_the_documents_of_each_word_by_how_often_it_occurs) {
  TestJob job(millrace_job_inverted_index);
  job.push({.key = "sea", .value = "the sea the SEA"});
  job.push({.key = "moon", .value = "the moon and the sea"}, 1);
  job.push({.key = std::nullopt, .value = "whose?"}, 1);
  job.push({.key = "gone", .value = std::nullopt}, 1);
  job.run_batch();
  job.checkpoint();
  job.push({.key = "sun", .value = "the sun"});
  job.push({.key = "moon", .value = "the moon"});
  job.run_batch();
  job.crash();
  EXPECT_THAT(job.table(), ElementsAre(Pair("SEA", "1"), Pair("and", "1"), Pair("moon", "1"), Pair("sea", "2"),
                                       Pair("sun", "1"), Pair("the", "3")));
  EXPECT_THAT(job.docs("the", 10), ElementsAre(Pair("moon", 3), Pair("sea", 2), Pair("sun", 1)));
  EXPECT_THAT(job.docs("the", 1, {{"moon", 3}}), ElementsAre(Pair("sea", 2)));
  EXPECT_THAT(job.docs("whose?", 10), IsEmpty());
  EXPECT_THAT(job.top(2), ElementsAre(Pair("the", "3"), Pair("sea", "2")));
  ASSERT_EQ(job.dead_letters().size(), 1U);
  EXPECT_THAT(job.dead_letters().front().reason, ::testing::StartsWith("the record has no key"));
}

TEST(InvertedIndex, takes_id_and_text_from_fields) {
  TestJob job(millrace_job_inverted_index,
              {.settings = {{"id", "name"}, {"field", "body"}, {"words", "unicode"}, {"stop-words", "english"}}});
  job.push(R"({"name":"a","body":"The Sea!"})");
  job.push(R"({"body":"sea, sea","name":"b"})");
  job.push(R"({"body":"sea"})");
  job.push(R"({"name":"","body":"sea"})");
  job.run_batch();
  EXPECT_THAT(job.docs("sea", 10), ElementsAre(Pair("b", 2), Pair("a", 1)));
  EXPECT_THAT(job.table(), ElementsAre(Pair("sea", "2")));
  EXPECT_EQ(job.dead_letters().size(), 2U);
  EXPECT_THROW(TestJob(millrace_job_inverted_index, {.settings = {{"id", "name"}}}), std::invalid_argument);
}

TEST(Alarm, is_raised_once_and_cleared_once_whatever_is_lost) {
  TestJob job(millrace_job_alarm, {.settings = {{"raise", "100"}, {"clear", "90.5"}}});
  job.advance(seconds(10));
  const auto run = [&job](std::initializer_list<std::string_view> lines) {
    for (const std::string_view line : lines) job.push(line);
    job.run_batch();
  };
  run({"oven 20", "fridge 4", "oven 100.5", "oven 130"});
  EXPECT_THAT(job.table(), ElementsAre(Pair("oven", R"(["raised",100.5,"1970-01-01T00:00:10.100Z"])")));
  job.checkpoint();
  run({"oven 95", "oven 101"});
  run({"oven 91"});  // neither
  job.crash();
  run({"oven 90.5"});
  job.crash();
  run({});
  EXPECT_THAT(job.table(), IsEmpty());
  run({"oven 120", "oven 20", "iron 100"});  // both in one batch
  EXPECT_THAT(job.top(9), ElementsAre(Pair("oven", R"(["raised",120,"1970-01-01T00:00:10.600Z"])"),
                                      Pair("iron", R"(["raised",100,"1970-01-01T00:00:10.600Z"])")));
  run({"oven 99", "oven 20"});
  run({"oven 101", "oven"});  // again at once
  job.checkpoint();
  job.crash();
  EXPECT_THAT(job.lines("alarms"),
              ElementsAre(told("oven", "raised", "100.5", "00:10.100"), told("oven", "cleared", "90.5", "00:10.400"),
                          told("iron", "raised", "100", "00:10.600"), told("oven", "raised", "120", "00:10.600"),
                          told("oven", "cleared", "20", "00:10.700"), told("oven", "raised", "101", "00:10.800")));
  ASSERT_EQ(job.dead_letters().size(), 1U);
  EXPECT_EQ(job.dead_letters().front().reason, "no 'KEY LEVEL': numbers: 0, not 1");
}

TEST(Alarm, of_a_low_level_ends_with_silence) {
  TestJob job(millrace_job_alarm, {.settings = {{"raise", "3"}, {"clear", "5"}, {"silence", "1m"}}});
  job.push("well 2.5");
  job.push("lake 7");
  job.run_batch();
  job.advance(seconds(59));
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("well", R"(["raised",2.5,"1970-01-01T00:00:00.100Z"])")));
  job.advance(seconds(1));
  job.run_batch();
  job.run_batch();
  EXPECT_THAT(job.table(), IsEmpty());
  EXPECT_THAT(job.lines("alarms"),
              ElementsAre(told("well", "raised", "2.5", "00:00.100"), told("well", "silent", "2.5", "01:00.300")));
}

TEST(Alarm, of_a_count_lasts_while_the_window_holds_enough) {
  TestJob job(millrace_job_alarm,
              {.settings = {{"of", "count"}, {"raise", "3"}, {"clear", "1"}, {"window", "2s"}, {"slide", "1s"}}});
  for (const char* line : {"door opened", "door shut", "gate opened", "door"}) job.push(line);
  job.run_batch();
  job.advance(seconds(1));
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("door", R"(["raised",3,"1970-01-01T00:00:01.200Z"])")));
  job.checkpoint();
  job.crash();
  job.advance(seconds(4));
  job.run_batch();
  EXPECT_THAT(job.lines("alarms"),
              ElementsAre(told("door", "raised", "3", "00:01.200"), told("door", "cleared", "0", "00:05.300")));
}

}  // namespace
}  // namespace millrace
