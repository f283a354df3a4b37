// What becomes of states where other code goes on from a checkpoint: the decision, and each kind of state.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "common/model/state_changes.h"
#include "job_model.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;
using millrace::testing::TestJob;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

using States = std::vector<StatePlan>;

std::vector<std::string> fates(const States& stored, const States& now) {
  std::vector<std::string> fates;
  for (const StateChange& change : changes_of_states(stored, now)) {
    fates.push_back(change.name + " " + to_string(change.fate));
  }
  return fates;
}
std::string refusal(const States& stored, const States& now) {
  const Status possible = check_states(changes_of_states(stored, now));
  return possible ? "" : possible.error().message;
}

TEST(StateChanges, are_by_name_whatever_the_order_is) {
  const States stored = {{"a", "x", {}}, {"b", "y", {}}};
  EXPECT_THAT(fates(stored, stored), ElementsAre("a kept", "b kept"));
  const States now = {{"c", "x", {}}, {"b", "y", {}}};
  EXPECT_THAT(fates(stored, now), ElementsAre("c new", "b kept", "a dropped"));
  const auto changes = changes_of_states(stored, now);
  EXPECT_EQ(changes[1].was, 1u);
  EXPECT_EQ(changes[1].is, 1u);
  EXPECT_EQ(changes[2].was, 0u);
  EXPECT_EQ(refusal(stored, now), "");
}

TEST(StateChanges, refuse_another_layout_under_the_same_name) {
  const States stored = {{"a", "text -> int64", {}}};
  const States now = {{"a", "text -> text", {}}, {"b", "text -> text", {}}};
  EXPECT_THAT(fates(stored, now), ElementsAre("a refused", "b new"));
  EXPECT_EQ(refusal(stored, now),
            "state 'a' was kept as text -> int64, and the new code keeps it as text -> text; give it another name, "
            "under which it begins empty");
}

TEST(StateChanges, of_a_state_and_of_what_is_made_of_its_changes_are_the_same) {
  const StatePlan a = {"a", "x", {}};
  const StatePlan b = {"b", "x", {"a"}};
  EXPECT_THAT(fates({a, b}, {a, b}), ElementsAre("a kept", "b kept"));
  EXPECT_THAT(fates({}, {a, b}), ElementsAre("a new", "b new"));
  EXPECT_THAT(fates({a, b}, {a}), ElementsAre("a kept", "b dropped"));
  EXPECT_THAT(refusal({a}, {a, b}), HasSubstr("state 'b' would begin empty, but 'a', of whose changes it is made, is "
                                              "kept; give both other names"));
  const StatePlan other = {"other", "x", {}};
  const StatePlan b_of_other = {"b", "x", {"other"}};
  EXPECT_THAT(refusal({a, b}, {other, b_of_other}), HasSubstr("made of the changes of other states than before"));
  EXPECT_THAT(refusal({a, b}, {{"a", "y", {}}, b}), HasSubstr("State 'b' is kept, but 'a'"));
}

// --- code that goes on -----------------------------------------------------------------------------------------------

auto words(const JobBuilder& job) {
  return job.lines().flat_map([](std::string_view line) { return words_of(std::string(line)); });
}

// With `extra` a state more, before all others: they have other numbers then.
void with_extra(JobBuilder& job) {
  if (job.choice("extra", {"no", "yes"}, "") == "yes") words(job).count_by_value("extra");
}

MILLRACE_TEST_JOB(forgetting) {
  with_extra(job);
  words(job).count_by_value({.name = "counts", .time_to_live = 700ms}).publish("counts").rank("top", 10);
}
MILLRACE_TEST_JOB(in_window) {
  with_extra(job);
  words(job).window(600ms, 200ms).count_by_value("recent").publish("counts");
}
MILLRACE_TEST_JOB(zeros_in_window) {
  with_extra(job);
  words(job).window(600ms, 200ms).count("all").publish("counts");
}
MILLRACE_TEST_JOB(by_levels) {
  with_extra(job);
  const auto pairs = words(job).map([](const std::string& word) { return std::pair(word.substr(0, 2), word); });
  const auto longer =
      words(job).filter([](const std::string& word) { return word.size() > 4; }).map([](const std::string& word) {
        return std::pair(word.substr(0, 2), word);
      });
  pairs.left_outer_join(longer, {.name = "join", .time_to_live = 500ms})
      .map([](const auto& joined) { return joined.first + (joined.second.second ? "+" : ""); })
      .count_by_value("joined")
      .count_by([](const std::string&, int64_t count) { return count % 5; }, "groups")
      .publish("counts");
}

// It is as if it had never been upgraded, whatever dies.
void expect_to_go_on(const JobDefinition& definition) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    std::mt19937_64 random(seed);
    const ModelOptions words_of_a_line;
    TestJob job(definition, {.state_partitions = 4});
    TestJob upgraded(definition, {.state_partitions = 4});
    const uint64_t first = random() % 10;
    const uint64_t second = first + random() % 10;
    for (uint64_t number = 0; number < 25; ++number) {
      for (uint64_t lines = random() % 10; lines != 0; --lines) {
        const std::string line = random_words(random, words_of_a_line);
        job.push(line);
        upgraded.push(line);
      }
      const auto waits = std::chrono::milliseconds(100 * (random() % 3));
      for (TestJob* each : {&job, &upgraded}) {
        each->advance(waits);
        each->run_batch();
      }
      if (random() % 3 == 0) upgraded.checkpoint();
      if (number == first) upgraded.upgrade(definition, {{"extra", "yes"}});
      if (number == second) upgraded.upgrade(definition);
      ASSERT_EQ(upgraded.table(), job.table()) << "seed " << seed << ", batch " << number;
      if (random() % 2 == 0) upgraded.crash();
      ASSERT_EQ(upgraded.table(), job.table()) << "after a crash; seed " << seed << ", batch " << number;
    }
  }
}

TEST(Upgrade, keeps_a_state_with_a_time_to_live) {
  expect_to_go_on(forgetting);
}
TEST(Upgrade, keeps_the_panes_of_windows) {
  expect_to_go_on(in_window);
}
TEST(Upgrade, keeps_the_zeros_of_windows) {
  expect_to_go_on(zeros_in_window);
}
TEST(Upgrade, keeps_what_waits_in_a_join_and_what_stands_behind_it) {
  expect_to_go_on(by_levels);
}

MILLRACE_TEST_JOB(first_version) {
  words(job).count_by_value("dropped");
  words(job).count_by_value("kept").publish("counts");
}
MILLRACE_TEST_JOB(second_version) {
  words(job).count_by_value("new").publish("counts");
  words(job).count_by_value("kept");
}
MILLRACE_TEST_JOB(other_layout) {
  words(job)
      .map([](const std::string& word) { return std::pair(word, word); })
      .reduce_by_key([](const std::string& a, const std::string&) { return a; }, {.name = "kept"})
      .publish("counts");
}

TEST(Upgrade, begins_what_is_new_empty_and_publishes_everything_anew) {
  TestJob job(first_version);
  job.push("a b");
  job.run_batch();
  job.upgrade(second_version);
  EXPECT_THAT(job.table(), IsEmpty());
  job.push("b");
  job.run_batch();
  EXPECT_EQ(job.table(), (ModelTable{{"b", "1"}}));
  job.upgrade(first_version);  // "dropped" is empty now, and "kept" has seen everything
  EXPECT_EQ(job.table(), (ModelTable{{"a", "1"}, {"b", "2"}}));
  job.crash();
  EXPECT_EQ(job.table(), (ModelTable{{"a", "1"}, {"b", "2"}}));
}

TEST(Upgrade, is_refused_where_a_state_is_something_else) {
  TestJob job(first_version);
  EXPECT_THAT([&] { job.upgrade(other_layout); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("state 'kept' was kept as text -> int64, and the new")));
  const auto table = make_job(other_layout, {}).value()->make_state_table();
  EXPECT_FALSE(table->restore_from({{"kept", "text -> int64", {}}}));
  EXPECT_TRUE(table->restore_from({{"other", "text -> int64", {}}}));
  EXPECT_FALSE(table->restore({StatePartition(0), std::string_view("\1key", 4), "", false}, false));
}

}  // namespace
}  // namespace millrace
