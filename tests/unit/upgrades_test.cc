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
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
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
            "under which it begins empty, or a migrate_from() where it can have one");
}

TEST(StateChanges, are_migrations_where_the_code_reads_the_former_layout) {
  const StatePlan now = {"a", "z", {}, {"x", "y"}};
  EXPECT_THAT(fates({{"a", "x", {}}}, {now}), ElementsAre("a migrated"));
  EXPECT_THAT(fates({{"a", "y", {}}}, {now}), ElementsAre("a migrated"));
  EXPECT_THAT(fates({now}, {now}), ElementsAre("a kept"));
  EXPECT_THAT(fates({{"a", "x", {}, {"z"}}}, {{"a", "z", {}}}), ElementsAre("a refused")) << "what the old code read";
  EXPECT_EQ(refusal({{"a", "w", {}}}, {now}),
            "state 'a' was kept as w, and the new code keeps it as z; give it another name, under which it begins "
            "empty. It is migrated from x, or y only");
  EXPECT_THAT(refusal({{"a", "x", {"other"}}}, {now}), HasSubstr("made of the changes of other states than before"));
}

TEST(StateChanges, of_what_is_made_of_the_changes_of_a_migrated_state_are_refused) {
  const StatePlan a = {"a", "x", {}};
  const StatePlan migrated = {"a", "y", {}, {"x"}};
  const StatePlan b = {"b", "x", {"a"}};
  const StatePlan migrated_b = {"b", "y", {"a"}, {"x"}};
  EXPECT_THAT(fates({a, b}, {a, migrated_b}), ElementsAre("a kept", "b migrated"));
  EXPECT_THAT(refusal({a, b}, {migrated, b}), HasSubstr("state 'b' is kept, but 'a', of whose changes it is made, is "
                                                        "migrated; give both other names, under which they begin"));
  EXPECT_THAT(refusal({a, b}, {migrated, migrated_b}), HasSubstr("state 'b' is migrated, but 'a', of whose"));
  EXPECT_THAT(refusal({a}, {migrated, b}), HasSubstr("state 'b' would begin empty, but 'a', of whose"));
  EXPECT_THAT(refusal({b}, {a, migrated_b}), HasSubstr("state 'b' is migrated, but 'a', of whose changes it is made, "
                                                       "would begin empty"));
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
  const StatePlan of_both = {"both", "x", {"a", "b"}};
  EXPECT_EQ(refusal({a, b, of_both}, {b, a, {"both", "x", {"b", "a"}}}), "") << "the order of definitions is nothing";
}

TEST(StateChanges, of_what_holds_the_newest_batch_alone_are_free_and_hide_nothing) {
  const StatePlan a = {"a", "x", {}};
  const StatePlan migrated = {"a", "y", {}, {"x"}};
  const StatePlan dealt = {"dealt", "none -> the newest batch", {"a"}};
  const StatePlan b = {"b", "x", {"a"}};
  const StatePlan b_of_dealt = {"b", "x", {"dealt"}};
  EXPECT_THAT(fates({a}, {a, dealt}), ElementsAre("a kept", "dealt new"));
  EXPECT_THAT(fates({a, dealt}, {migrated, dealt}), ElementsAre("a migrated", "dealt kept"));
  EXPECT_THAT(fates({a, dealt}, {{"dealt", "none -> the newest batch", {}}}), ElementsAre("dealt kept", "a dropped"));
  EXPECT_THAT(fates({a, b}, {a, dealt, b_of_dealt}), ElementsAre("a kept", "dealt new", "b kept"));
  EXPECT_THAT(fates({a, dealt, b_of_dealt}, {a, b}), ElementsAre("a kept", "b kept", "dealt dropped"));
  EXPECT_THAT(refusal({a}, {a, dealt, b_of_dealt}),
              HasSubstr("state 'b' would begin empty, but 'a', of whose changes"));
}

std::string drop_refusal(const States& stored, const States& now, const std::vector<std::string>& agreed = {}) {
  const Status agreed_to = check_drops(changes_of_states(stored, now), now, agreed);
  return agreed_to ? "" : agreed_to.error().message;
}

TEST(StateChanges, that_lose_what_a_state_holds_are_agreed_to_by_its_name) {
  const States stored = {{"words", "text -> int64", {}}, {"sums", "text -> double", {}}};
  EXPECT_EQ(drop_refusal(stored, stored), "");
  EXPECT_EQ(
      drop_refusal(stored, {{"counts", "text -> int64", {}}, stored[1]}),
      "state 'words' (text -> int64) would be dropped, and all that it holds would be lost: the new code keeps no "
      "state of that name. To keep it, give the state that goes on with it this name, as the last argument of its "
      "aggregation, \"words\" (new, and of fitting types: 'counts'); to lose it, say --drop 'words'");
  EXPECT_EQ(drop_refusal(stored, {stored[1]}, {"words"}), "");
  EXPECT_THAT(drop_refusal(stored, {}), AllOf(HasSubstr("state 'words' (text"), HasSubstr(". State 'sums' (text")));
  EXPECT_THAT(drop_refusal(stored, {}, {"sums"}), AllOf(HasSubstr("'words'"), Not(HasSubstr("'sums'"))));
  EXPECT_EQ(drop_refusal(stored, {}, {"words", "sums"}), "");
}

TEST(StateChanges, that_somebody_agreed_to_and_that_do_not_come_are_a_mistake) {
  const States stored = {{"words", "text -> int64", {}}, {"sums", "text -> double", {}}};
  EXPECT_EQ(drop_refusal(stored, stored, {"words"}), "--drop 'words': no such state is dropped; those that are: none");
  EXPECT_EQ(drop_refusal(stored, {stored[0]}, {"sum", "sums"}),
            "--drop 'sum': no such state is dropped; those that are: sums");
}

TEST(StateChanges, that_drop_the_newest_batch_alone_lose_nothing) {
  const States stored = {{"a", "x", {}}, {"dealt", "none -> the newest batch", {"a"}}};
  EXPECT_EQ(drop_refusal(stored, {stored[0]}), "");
  EXPECT_EQ(drop_refusal(stored, {stored[0]}, {"dealt"}), "");
  EXPECT_EQ(note_of(changes_of_states(stored, {stored[0]})[1], {stored[0]}), "");
  EXPECT_EQ(note_of(changes_of_states(stored, {stored[1]})[1], {stored[1]}), "all that it holds is lost");
}

TEST(StateChanges, that_leave_a_migration_without_its_state_say_so) {
  const StatePlan now = {"counts", "text -> int64", {}, {"text -> text"}};
  const States stored = {{"words", "text -> text", {}}};
  EXPECT_THAT(drop_refusal(stored, {now}),
              AllOf(HasSubstr("(new, and of fitting types: 'counts')"),
                    HasSubstr(". State 'counts' has migrate_from(text -> text), but the job keeps no state of that "
                              "name; it keeps 'words' (text -> text)")));
  EXPECT_EQ(drop_refusal(stored, {now}, {"words"}), "") << "somebody knows what he does";
  EXPECT_EQ(note_of(changes_of_states(stored, {now})[0], {now}),
            "migrate_from(text -> text) finds no former state of this name");
  EXPECT_EQ(drop_refusal({now}, {now}), "") << "it has been migrated, and the function stayed";
  EXPECT_EQ(note_of(changes_of_states({now}, {now})[0], {now}), "");
  const States from_before = {{"other", "x", {}}};
  EXPECT_EQ(drop_refusal(from_before, {from_before[0], now}), "") << "the version between was left out";
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
MILLRACE_TEST_JOB(indexed) {
  with_extra(job);
  words(job)
      .map([](const std::string& word) { return std::pair(word.substr(0, 2), word); })
      .index_by_key("index")
      .publish("counts")
      .rank("top", 10);
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
MILLRACE_TEST_JOB(dealt_anew) {
  with_extra(job);
  words(job).repartition().count_by_value("counts").publish("counts");
}

// It is as if it had never been upgraded, whatever dies.
void expect_to_go_on(const JobDefinition& definition, bool is_index = false) {
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
      if (is_index) {
        ASSERT_EQ(upgraded.docs("w1", 100), job.docs("w1", 100)) << "seed " << seed << ", batch " << number;
      }
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
TEST(Upgrade, keeps_the_members_of_an_index) {
  expect_to_go_on(indexed, /*is_index=*/true);
}
TEST(Upgrade, keeps_what_waits_in_a_join_and_what_stands_behind_it) {
  expect_to_go_on(by_levels);
}
TEST(Upgrade, keeps_what_stands_behind_values_that_were_dealt_anew) {
  expect_to_go_on(dealt_anew);
}

// --- states of other types -------------------------------------------------------------------------------------------

template <typename Sum>
auto sums(JobBuilder& job) {
  return words(job)
      .map([](const std::string& word) { return std::pair<std::string, Sum>(word, Sum(1)); })
      .reduce_by_key([](const Sum& a, const Sum& b) { return static_cast<Sum>(a + b); },
                     {.name = "sums", .time_to_live = job.choice("forgets", {"no", "yes"}, "") == "yes" ? 700ms : 0ms});
}
MILLRACE_TEST_JOB(small_sums) {
  sums<int16_t>(job).publish("counts");
}
MILLRACE_TEST_JOB(sums_of_any_size) {
  with_extra(job);
  sums<int64_t>(job)
      .migrate_from<std::string>([](const std::string&) -> int64_t { throw std::logic_error("nobody kept texts"); })
      .migrate_from<int16_t>([](int16_t sum) { return int64_t{sum}; })
      .publish("counts");
}

// A word's first letters, and how often it came; in three versions.
struct Seen {
  std::string begin;
  int64_t times;
  MILLRACE_FIELDS(Seen, begin, times)
  [[nodiscard]] std::string text() const { return begin + std::to_string(times); }
};
struct SeenOnce {
  int32_t times;
  MILLRACE_FIELDS(SeenOnce, times)
};
template <typename State, typename Count>
auto seen(const JobBuilder& job, Count count) {
  return words(job)
      .map([](const std::string& word) { return std::pair(word, word.substr(0, 2)); })
      .template update_state_by_key<State>(
          [count](std::span<const std::string> begins, std::optional<State> state) -> std::optional<State> {
            if (!state) state = State{};
            for (const std::string& begin : begins) count(*state, begin);
            return state;
          },
          {.name = "seen", .only_changed = true});
}
MILLRACE_TEST_JOB(seen_in_32_bits) {
  seen<SeenOnce>(job, [](SeenOnce& into, const std::string&) {
    ++into.times;
  }).map_values([](const SeenOnce& all) {
      return all.times;
    }).publish("counts");
}
MILLRACE_TEST_JOB(seen_in_64_bits) {
  seen<int64_t>(job, [](int64_t& into, const std::string&) {
    ++into;
  }).migrate_from<SeenOnce>([](const SeenOnce& old) {
      return int64_t{old.times};
    }).publish("counts");
}
MILLRACE_TEST_JOB(seen_with_begin) {
  const auto keep_rest = [](int64_t times) -> std::optional<Seen> {
    if (times % 2 == 0) return std::nullopt;
    return Seen{"?", times};
  };
  seen<Seen>(job,
             [](Seen& into, const std::string& begin) {
               into.begin = begin;
               ++into.times;
             })
      .migrate_from<SeenOnce>([keep_rest](const SeenOnce& old) { return keep_rest(old.times); })
      .publish("counts")
      .migrate_from<int64_t>(keep_rest);
}

TEST(Migration, goes_on_with_the_values_as_if_they_had_always_been_of_the_new_type) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    std::mt19937_64 random(seed);
    const std::map<std::string, std::string> forgets = {{"forgets", seed % 2 == 0 ? "yes" : "no"}};
    TestJob job(sums_of_any_size, {.settings = forgets, .state_partitions = 4});
    TestJob upgraded(small_sums, {.settings = forgets, .state_partitions = 4});
    const uint64_t first = random() % 10;
    for (uint64_t number = 0; number < 25; ++number) {
      for (uint64_t lines = random() % 10; lines != 0; --lines) {
        const std::string line = random_words(random, {});
        job.push(line);
        upgraded.push(line);
      }
      const auto waits = std::chrono::milliseconds(100 * (random() % 3));
      for (TestJob* each : {&job, &upgraded}) {
        each->advance(waits);
        each->run_batch();
      }
      if (random() % 3 == 0) upgraded.checkpoint();
      if (number == first) upgraded.upgrade(sums_of_any_size, forgets);
      ASSERT_EQ(upgraded.table(), job.table()) << "seed " << seed << ", batch " << number;
      if (random() % 2 == 0) upgraded.crash();
      ASSERT_EQ(upgraded.table(), job.table()) << "after a crash; seed " << seed << ", batch " << number;
    }
    upgraded.upgrade(sums_of_any_size, {{"extra", "yes"}, {"forgets", forgets.at("forgets")}});
    ASSERT_EQ(upgraded.table(), job.table()) << "its own checkpoints are of the new type; seed " << seed;
  }
}

TEST(Migration, from_each_of_several_versions_may_drop_keys) {
  for (const bool by_the_one_between : {false, true}) {
    TestJob job(seen_in_32_bits);
    for (const char* line : {"apple apple pear", "pear fig", "pear"}) {
      job.push(line);
      job.run_batch();
      job.checkpoint();  // Each key in several files.
    }
    if (by_the_one_between) job.upgrade(seen_in_64_bits);
    EXPECT_EQ(job.table(), (ModelTable{{"apple", "2"}, {"fig", "1"}, {"pear", "3"}}));
    job.upgrade(seen_with_begin);
    const ModelTable rest = {{"fig", "?1"}, {"pear", "?3"}};
    EXPECT_EQ(job.table(), rest);
    job.crash();
    EXPECT_EQ(job.table(), rest);
    job.push("apple fig");
    job.run_batch();
    EXPECT_EQ(job.table(), (ModelTable{{"apple", "ap1"}, {"fig", "fi2"}, {"pear", "?3"}}));
  }
}

// A state of texts, where the other versions have numbers under the same name.
void keep_texts(const JobBuilder& job, const char* state) {
  words(job)
      .map([](const std::string& word) { return std::pair(word, word); })
      .reduce_by_key([](const std::string& a, const std::string&) { return a; }, {.name = state})
      .publish("counts");
}
MILLRACE_TEST_JOB(keeps_text) {
  keep_texts(job, "sums");
}

TEST(Migration, that_throws_fails_by_name_and_leaves_the_checkpoint_as_it_was) {
  TestJob job(keeps_text);
  job.push("apple");
  job.run_batch();
  EXPECT_THAT([&] { job.upgrade(sums_of_any_size, {{"forgets", "no"}}); },
              ThrowsMessage<std::logic_error>(AllOf(HasSubstr("state 'sums', key 'apple': "),
                                                    HasSubstr("in migrate_from: nobody kept"),
                                                    HasSubstr("take the former version up by `resume --from`"))));
  const auto table = make_job(sums_of_any_size, {}).value()->make_state_table();
  ASSERT_TRUE(table->restore_from({{"sums", "text -> int16", {}}}));
  const StateRun::Entry torn{StatePartition(0), std::string_view("\0key", 4), "", false};
  const Status unreadable = table->restore(torn, false);
  ASSERT_FALSE(unreadable);
  EXPECT_EQ(unreadable.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(unreadable.error().message, HasSubstr("state 'sums', key 'key'"));
  EXPECT_FALSE(table->restore({StatePartition(0), std::string_view("\0key", 4), "123", false}, false)) << "too long";
}

TEST(Migration, is_refused_where_it_says_nothing_or_cannot_be) {
  EXPECT_THAT(refusal({{"sums", "int64 -> int16", {}}}, make_job(sums_of_any_size, {}).value()->states()),
              HasSubstr("was kept as int64 -> int16"))
      << "keys of another type";
  EXPECT_THAT(refusal({{"sums", "text -> int16 and when it was touched", {}}},
                      make_job(sums_of_any_size, {}).value()->states()),
              HasSubstr("is migrated from text -> text, or text -> int16 only"))
      << "it had a time to live";
  const auto problem = [](void (*define)(JobBuilder&)) {
    const auto made = make_job(JobDefinition{"job", "", define}, {});
    return made ? std::string() : made.error().message;
  };
  EXPECT_THAT(problem([](JobBuilder& job) {
                sums<int64_t>(job).migrate_from<int64_t>([](int64_t sum) { return sum; }).publish("counts");
              }),
              HasSubstr("state 'sums' is kept as text -> int64 now"));
  EXPECT_THAT(problem([](JobBuilder& job) {
                const auto twice = [](int16_t sum) { return int64_t{sum}; };
                sums<int64_t>(job).migrate_from<int16_t>(twice).migrate_from<int16_t>(twice).publish("counts");
              }),
              HasSubstr("state 'sums' is migrated from text -> int16 in two ways"));
  EXPECT_THAT(problem([](JobBuilder& job) {
                words(job)
                    .window(600ms)
                    .count_by_value("recent")
                    .migrate_from<int16_t>([](int16_t sum) { return int64_t{sum}; })
                    .publish("counts");
              }),
              HasSubstr("state 'recent' keeps panes of 600 ms: int64, and migrate_from() is for running aggregations"));
}

// --- what becomes of the others --------------------------------------------------------------------------------------

MILLRACE_TEST_JOB(first_version) {
  words(job).count_by_value("dropped");
  words(job).count_by_value("kept").publish("counts");
}
MILLRACE_TEST_JOB(second_version) {
  words(job).count_by_value("new").publish("counts");
  words(job).count_by_value("kept");
}
MILLRACE_TEST_JOB(other_layout) {
  keep_texts(job, "kept");
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
