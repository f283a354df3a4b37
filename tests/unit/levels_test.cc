// Shuffles behind shuffles: what changes in a table, and what is made of it, against plain code on the same input.
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
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::ThrowsMessage;

using Counts = std::map<std::string, int64_t>;
// Makes of each batch what the table holds after it.
using CountsModel = std::function<Counts(const ModelBatch&)>;

// By the last letter of its key, all changes in their order.
void log_changes(const auto& stream) {
  stream
      .map([](const Change<std::string, int64_t>& change) {
        return std::pair(change.key.substr(change.key.size() - 1),
                         text_of(std::tuple(change.key, change.before, change.after)));
      })
      .template combine_by_key<std::string>([](const std::string& first) { return first; },
                                            [](std::string& all, const std::string& next) { all += next; }, "log")
      .publish("log");
}
auto logged(const std::function<CountsModel()>& make_model) {
  return [=] {
    return [model = make_model(), before = Counts(), log = ModelTable()](const ModelBatch& batch) mutable {
      const Counts after = model(batch);
      std::map<std::pair<int32_t, std::string>, std::string> changes;  // in the order in which they come
      const auto note = [&](const std::string& key) {
        const auto text = [&](const Counts& counts) {
          return counts.contains(key) ? std::to_string(counts.at(key)) : "null";
        };
        if (text(before) == text(after)) return;
        changes[{state_partition_of(key, batch.state_partitions).value(), key}] =
            "[\"" + key + "\"," + text(before) + "," + text(after) + "]";
      };
      for (const auto& [key, count] : before) note(key);
      for (const auto& [key, count] : after) note(key);
      for (const auto& [place, text] : changes) log[place.second.substr(place.second.size() - 1)] += text;
      before = after;
      return log;
    };
  };
}

auto running_counts() {
  return [] {
    return [counts = Counts()](const ModelBatch& batch) mutable {
      for (const std::string& line : batch.lines) {
        for (const std::string& word : words_of(line)) ++counts[word];
      }
      return counts;
    };
  };
}

// How often the words of the last 300 ms came in them.
auto recent_counts() {
  return [words = std::vector<std::pair<int64_t, std::string>>(), counts = Counts()](const ModelBatch& batch) mutable {
    for (const std::string& line : batch.lines) {
      for (const std::string& word : words_of(line)) words.emplace_back(batch.time_ms, word);
    }
    if (!batch.tick) return counts;
    counts.clear();
    for (const auto& [time_ms, word] : words) {
      if (time_ms > batch.time_ms - 300) ++counts[word];
    }
    return counts;
  };
}

MILLRACE_TEST_JOB(changes_of_counts) {
  log_changes(job.lines().flat_map(split_words).count_by_value().changes());
}
TEST(Changes, are_one_for_each_key_and_batch_by_partition_and_key) {
  expect_model(changes_of_counts, {.batches = 30, .most_lines = 12}, logged(running_counts()));
}

MILLRACE_TEST_JOB(changes_of_tens) {
  log_changes(job.lines()
                  .flat_map(split_words)
                  .count_by_value()
                  .map_values([](int64_t count) { return count / 10; })
                  .changes()
                  .cache());
}
TEST(Changes, are_those_of_what_a_reader_sees) {
  expect_model(changes_of_tens, {.batches = 30, .most_lines = 12}, logged([] {
                 return [inner = running_counts()()](const ModelBatch& batch) mutable {
                   Counts counts = inner(batch);
                   for (auto& [word, count] : counts) count /= 10;
                   return counts;
                 };
               }));
}

MILLRACE_TEST_JOB(changes_of_recent_counts) {
  log_changes(job.lines().flat_map(split_words).count_by_value({.time_to_live = 300ms}).changes());
}
TEST(Changes, say_what_has_gone_by_its_time_to_live) {
  expect_model(
      changes_of_recent_counts, {.needs_time = true, .batches = 40, .distinct = 60, .most_lines = 6}, logged([] {
        return [counts = Counts(), touched = Counts()](const ModelBatch& batch) mutable {
          for (const std::string& line : batch.lines) {
            for (const std::string& word : words_of(line)) {
              ++counts[word];
              touched[word] = batch.time_ms;
            }
          }
          if (batch.tick) {
            std::erase_if(counts, [&](const auto& each) { return touched[each.first] + 300 <= batch.time_ms; });
          }
          return counts;
        };
      }));
}

MILLRACE_TEST_JOB(changes_of_windows) {
  log_changes(job.lines().flat_map(split_words).window(300ms, 100ms).count_by_value().changes());
}
TEST(Changes, follow_a_window) {
  expect_model(changes_of_windows, {.needs_time = true, .batches = 40, .distinct = 60, .most_lines = 6},
               logged([] { return recent_counts(); }));
}

// How many words came so often, and how many of these numbers are so large; both with what was there once.
auto numbers_of(const auto& changes, const char* name) {
  return changes
      .flat_map(emitting<std::pair<std::string, int64_t>>([](const auto& change, auto& emit) {
        if (change.before) emit(std::pair(std::to_string(*change.before), int64_t{-1}));
        if (change.after) emit(std::pair(std::to_string(*change.after), int64_t{1}));
      }))
      .reduce_by_key([](int64_t a, int64_t b) { return a + b; }, name);
}
MILLRACE_TEST_JOB(numbers_of_numbers) {
  const auto words = job.lines().flat_map(split_words).count_by_value();
  numbers_of(numbers_of(words.changes(), "numbers").changes(), "of numbers").publish("numbers");
}
TEST(Levels, are_as_many_as_shuffles_stand_behind_each_other) {
  const auto numbers = [](const Counts& counts, std::set<std::string>& seen) {
    Counts result;
    for (const auto& [key, count] : counts) ++result[std::to_string(count)];
    for (const auto& [key, count] : result) seen.insert(key);
    for (const std::string& key : seen) result.try_emplace(key, 0);
    return result;
  };
  expect_model(numbers_of_numbers, {.batches = 30, .most_lines = 12}, [&] {
    return [&, inner = running_counts()(), first = std::set<std::string>(),
            second = std::set<std::string>()](const ModelBatch& batch) mutable {
      ModelTable table;
      for (const auto& [key, count] : numbers(numbers(inner(batch), first), second)) table[key] = std::to_string(count);
      return table;
    };
  });
  EXPECT_EQ((*make_job(numbers_of_numbers, {}))->levels(), 3);
  EXPECT_EQ((*make_job(changes_of_counts, {}))->levels(), 2);
}

MILLRACE_TEST_JOB(changes_of_two_tables) {
  const auto words = job.lines().flat_map(split_words).cache();
  const auto counts = words.count_by_value("words");
  const auto sizes = words.map([](const std::string& word) { return std::to_string(word.size()); }).count_by_value();
  log_changes(counts.changes().union_with(sizes.changes()));
}
TEST(Levels, a_union_of_two_tables_changes_has_both) {
  TestJob job(changes_of_two_tables, {.state_partitions = 1});
  job.push("b1 a1 b1");
  job.run_batch();
  job.push("a2 b1 ccc1");
  job.run_batch();
  job.crash();
  EXPECT_THAT(job.table(),
              ElementsAre(Pair("1", "[\"a1\",null,1][\"b1\",null,2][\"b1\",2,3][\"ccc1\",null,1]"),
                          Pair("2", "[\"2\",null,3][\"a2\",null,1][\"2\",3,5]"), Pair("4", "[\"4\",null,1]")));
}

// --- groups ------------------------------------------------------------------------------------------------------

MILLRACE_TEST_JOB(words_by_their_counts) {
  job.lines()
      .flat_map(split_words)
      .window(300ms, 100ms)
      .count_by_value()
      .count_by([](const std::string&, int64_t count) { return count; })
      .publish("words")
      .rank("top", 3);
}
TEST(Groups, count_by_counts_the_keys_that_are_there_now) {
  expect_model(words_by_their_counts, {.needs_time = true, .batches = 40, .distinct = 15, .most_lines = 6}, [] {
    return [inner = recent_counts()](const ModelBatch& batch) mutable {
      Counts groups;
      for (const auto& [word, count] : inner(batch)) ++groups[std::to_string(count)];
      ModelTable table;
      for (const auto& [group, keys] : groups) table[group] = std::to_string(keys);
      return table;
    };
  });
}

// Sums that are 0, and below.
int64_t points_of(int64_t count) {
  return count - 2;
}
MILLRACE_TEST_JOB(points_by_last_letter) {
  job.lines()
      .flat_map(split_words)
      .window(300ms, 100ms)
      .count_by_value()
      .sum_by([](const std::string& word, int64_t count) {
        return std::pair(std::string_view(word).substr(word.size() - 1), points_of(count));
      })
      .publish("points");
}
TEST(Groups, sum_by_sums_what_the_keys_that_are_there_bring) {
  expect_model(points_by_last_letter, {.needs_time = true, .batches = 40, .distinct = 60, .most_lines = 6}, [] {
    return [inner = recent_counts()](const ModelBatch& batch) mutable {
      Counts groups;
      for (const auto& [word, count] : inner(batch)) groups[word.substr(word.size() - 1)] += points_of(count);
      ModelTable table;
      for (const auto& [group, sum] : groups) table[group] = std::to_string(sum);
      return table;
    };
  });
}

TEST(Groups, a_function_that_says_something_else_each_time_fails_the_job) {
  TestJob job({"test", "", [](JobBuilder& builder) {
                 builder.lines()
                     .count_by_value()
                     .count_by([calls = std::make_shared<int>(0)](const std::string&, int64_t) { return ++*calls; })
                     .publish("a");
               }});
  job.push("a");
  job.run_batch();
  job.push("a");
  try {
    job.run_batch();
    ADD_FAILURE() << "it went on";
  } catch (const std::logic_error& problem) {
    EXPECT_THAT(problem.what(), HasSubstr("more is taken off the group '2' than was added to it"));
  }
}

// --- what cannot be ----------------------------------------------------------------------------------------------

using Stored = Change<std::string, int64_t>;
std::string error_of(void (*define)(JobBuilder&)) {
  const auto refused = make_job({"test", "", define}, {});
  return refused ? "" : refused.error().message;
}

TEST(Levels, an_exception_behind_a_shuffle_fails_the_job_by_name) {
  TestJob job({"test", "", [](JobBuilder& builder) {
                 builder.lines()
                     .count_by_value()
                     .changes()
                     .map([](const Stored& change) -> std::string {
                       if (change.key == "bad") throw std::runtime_error("it is bad");
                       return change.key;
                     })
                     .count_by_value("again")
                     .publish("a");
               }});
  job.push("good");
  job.run_batch();
  job.push("bad");
  try {
    job.run_batch();
    ADD_FAILURE() << "it went on";
  } catch (const std::logic_error& problem) {
    EXPECT_THAT(problem.what(),
                HasSubstr("the job's code threw an exception in what follows state 'count_by_value' (changes, map): "
                          "it is bad; nothing is lost: mend the code and `millrace upgrade` the job"));
  }
}

void states_that_throw(JobBuilder& job) {
  job.lines()
      .map([](std::string_view line) { return std::pair(std::string(line), true); })
      .update_state_by_key<bool>(
          [](const std::string& key, std::span<const bool>, std::optional<bool>) -> std::optional<bool> {
            if (key == "bad") throw 7;
            return true;
          },
          "alarms")
      .publish("alarms");
}
TEST(Levels, a_state_that_throws_fails_the_job_by_name_and_key) {
  TestJob job({"test", "", states_that_throw});
  job.push("good");
  job.push("bad");
  EXPECT_THAT([&] { job.run_batch(); },
              ThrowsMessage<std::logic_error>(HasSubstr("in state 'alarms' (update_state_by_key), key 'bad': something "
                                                        "that is no std::exception; ")));
}

TEST(Levels, what_cannot_stand_behind_a_shuffle_is_refused_with_a_remedy) {
  EXPECT_THAT(error_of([](JobBuilder& job) {
                job.lines()
                    .count_by_value()
                    .changes()
                    .map([](const Stored& change) -> std::expected<std::string, std::string> { return change.key; })
                    .count_by_value("again")
                    .publish("a");
              }),
              HasSubstr("leave such values out by filter()"));
  EXPECT_THAT(error_of([](JobBuilder& job) {
                const auto keys = job.lines().count_by_value().changes().map(&Stored::key);
                keys.union_with(job.lines().map([](std::string_view line) { return std::string(line); }))
                    .count_by_value("again")
                    .publish("a");
              }),
              HasSubstr("a stream behind 1 shuffles and one of the source cannot be brought together yet"));
  EXPECT_THAT(error_of([](JobBuilder& job) {
                auto counts = job.lines().map([](std::string_view line) { return std::string(line); }).count_by_value();
                for (int level = 2; level <= 17; ++level) {
                  counts = counts.changes().map(&Stored::key).count_by_value("level " + std::to_string(level));
                }
                counts.publish("a");
              }),
              HasSubstr("the job has 17 shuffles one behind the other; there can be 16"));
}

MILLRACE_TEST_JOB(counts_words_twice_dealt) {
  job.lines()
      .filter([](std::string_view line) { return !line.empty(); })
      .repartition()
      .flat_map([](const std::string& line) { return words_of(line); })
      .key_by([](const std::string& word) { return word.substr(word.size() - 1); })
      .repartition("words")
      .map([](const auto& pair) { return pair.second; })
      .count_by_value()
      .publish("counts");
}
TEST(Repartition, changes_nothing_of_what_is_counted_behind_it) {
  expect_model(counts_words_twice_dealt, {.batches = 30, .most_lines = 20}, [] {
    return [inner = running_counts()()](const ModelBatch& batch) mutable {
      ModelTable table;
      for (const auto& [word, count] : inner(batch)) table[word] = std::to_string(count);
      return table;
    };
  });
  EXPECT_EQ((*make_job(counts_words_twice_dealt, {}))->levels(), 3);
}

MILLRACE_TEST_JOB(deals_lines) {
  const auto lines = job.lines().map([](std::string_view line) { return std::string(line); }).cache();
  lines.repartition().write("dealt");
  lines
      .map([](const std::string& line) -> std::expected<std::string, std::string> {
        if (line == "bad") return std::unexpected("it is bad");
        return line;
      })
      .count_by_value()
      .publish("counts");
}
TEST(Repartition, deals_the_values_of_a_batch_evenly_and_keeps_their_order_in_each_state_partition) {
  constexpr int kLines = 67;
  TestJob job(deals_lines, {.piece_records = 5});
  for (int line = 100; line < 100 + kLines; ++line) job.push(std::to_string(line));
  job.run_batch();
  job.checkpoint();
  const std::vector<std::string> dealt = job.lines("dealt");  // by state partitions
  ASSERT_EQ(dealt.size(), static_cast<size_t>(kLines));
  std::vector<int> sizes;
  for (size_t i = 0; i < dealt.size(); ++i) {
    const int line = std::stoi(dealt[i]);
    if (sizes.empty() || line != std::stoi(dealt[i - 1]) + 8) sizes.push_back(0);
    ++sizes.back();
  }
  EXPECT_EQ(std::multiset<int>(sizes.begin(), sizes.end()), (std::multiset<int>{8, 8, 8, 8, 8, 9, 9, 9}));
  for (const char* line : {"one", "bad", "two"}) job.push(line);
  job.run_batch();
  const std::vector<std::string> more = job.lines("dealt");
  EXPECT_THAT(std::set<std::string>(more.begin() + kLines, more.end()), ElementsAre("one", "two"));
  job.crash();
  EXPECT_EQ(job.lines("dealt"), more);
}

TEST(Repartition, batches_of_one_value_go_to_all_state_partitions_however_equal_they_are) {
  constexpr size_t kPartitions = 64;
  std::vector<int> values(kPartitions);
  for (uint64_t place = 0; place < 100 * kPartitions; ++place) {
    ++values[internal::begin_of_round("the same", place, kPartitions)];
  }
  EXPECT_GT(*std::ranges::min_element(values), 50);
  EXPECT_LT(*std::ranges::max_element(values), 200);
}

TEST(Repartition, of_a_name_that_is_taken_is_refused_with_a_remedy) {
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().repartition().repartition().count_by_value().publish("a"); }),
              HasSubstr("two states are named 'repartition'; give one of them another name"));
}

// --- what people see -----------------------------------------------------------------------------------------------

std::string shape_of(const JobDefinition& definition) {
  const auto job = make_job(definition, JobContext());
  std::string lines;
  for (const JobPart& part : (*job)->shape()) {
    lines += std::to_string(part.stage) + " " + part.name;
    for (const std::string& fact : part.facts) lines += "; " + fact;
    for (const size_t from : part.from) lines += " <- " + std::to_string(from);
    lines += "\n";
  }
  return lines;
}

TEST(Shape, names_what_a_job_is_made_of_and_where_its_values_go) {
  EXPECT_EQ(shape_of(points_by_last_letter),
            "0 records\n"
            "0 lines, flat_map <- 0\n"
            "1 count_by_value; of a window of 300ms that slides by 100ms; text -> panes of 100 ms: int64 <- 1\n"
            "1 changes, flat_map <- 2\n"
            "2 sum_by; text -> (int64, int64) <- 3\n"
            "2 points; keys may go <- 4\n");
  EXPECT_EQ(shape_of(changes_of_two_tables),
            "0 records\n"
            "0 lines, flat_map, cache <- 0\n"
            "1 words; count_by_value; text -> int64 <- 1\n"
            "0 map <- 1\n"
            "1 count_by_value; text -> int64 <- 3\n"
            "1 changes <- 2\n"
            "1 changes <- 4\n"
            "1 union_with <- 5 <- 6\n"
            "1 map <- 7\n"
            "2 log; combine_by_key; text -> text <- 8\n"
            "2 log <- 9\n");
  EXPECT_EQ(shape_of(deals_lines),
            "0 records\n"
            "0 lines, map, cache <- 0\n"
            "1 repartition; none -> the newest batch <- 1\n"
            "2 dealt; lines of text <- 2\n"
            "0 map <- 1\n"
            "1 count_by_value; text -> int64 <- 4\n"
            "1 counts <- 5\n");
}

}  // namespace
}  // namespace millrace
