// Running aggregations and state functions: each against plain code on the same input, through crashes.
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
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::ThrowsMessage;

template <typename State>
using Model = std::map<std::string, State>;

template <typename State>
ModelTable texts(const Model<State>& model) {
  ModelTable table;
  for (const auto& [key, state] : model) table[key] = text_of(state);
  return table;
}

// (first two letters, word)
auto words_by_beginning(const JobBuilder& job) {
  return job.lines()
      .flat_map([](std::string_view line) { return words_of(std::string(line)); })
      .key_by([](const std::string& word) { return word.substr(0, 2); });
}

// Each word of a batch, with a model's state of its beginning.
template <typename State>
auto per_word(std::function<void(State&, bool fresh, const std::string& word)> fold) {
  return [fold] {
    return [fold, model = Model<State>()](const ModelBatch& batch) mutable {
      for (const std::string& line : batch.lines) {
        for (const std::string& word : words_of(line)) {
          const std::string key = word.substr(0, 2);
          const bool fresh = !model.contains(key);
          fold(model[key], fresh, word);
        }
      }
      return texts(model);
    };
  };
}

MILLRACE_TEST_JOB(longest_words) {
  words_by_beginning(job)
      .reduce_by_key([](const std::string& a, const std::string& b) { return b.size() > a.size() ? b : a; })
      .publish("longest");
}
TEST(Running, reduce_by_key_takes_values_of_any_type_in_their_order) {
  expect_model(longest_words, {}, per_word<std::string>([](std::string& longest, bool fresh, const std::string& word) {
                 if (fresh || word.size() > longest.size()) longest = word;
               }));
}

struct Sizes {
  int64_t words;
  double mean;
  std::vector<std::string> last;
  MILLRACE_FIELDS(Sizes, words, mean, last)
  [[nodiscard]] std::string text() const { return text_of(std::tuple(words, mean, last)); }
};
void add_word(Sizes& sizes, const std::string& word) {
  ++sizes.words;
  sizes.mean += (static_cast<double>(word.size()) - sizes.mean) / static_cast<double>(sizes.words);
  if (sizes.last.size() == 3) sizes.last.erase(sizes.last.begin());
  sizes.last.push_back(word);
}
MILLRACE_TEST_JOB(sizes_of_words) {
  words_by_beginning(job)
      .combine_by_key<Sizes>([](const std::string& word) { return Sizes{1, static_cast<double>(word.size()), {word}}; },
                             [](Sizes& sizes, const std::string& word) { add_word(sizes, word); })
      .publish("sizes");
}
TEST(Running, combine_by_key_folds_in_order) {
  expect_model(sizes_of_words, {}, per_word<Sizes>([](Sizes& sizes, bool fresh, const std::string& word) {
                 if (fresh) sizes = {};
                 add_word(sizes, word);
               }));
}

// No text and no score of its own.
struct Total {
  int64_t words;
  int64_t letters;
  MILLRACE_FIELDS(Total, words, letters)
};
auto totals(const JobBuilder& job) {
  return words_by_beginning(job)
      .map([](const auto& pair) { return std::pair(pair.first, Total{1, static_cast<int64_t>(pair.second.size())}); })
      .reduce_by_key(
          [](Total& into, const Total& from) { into = {into.words + from.words, into.letters + from.letters}; },
          {.time_to_live = 1h});
}
MILLRACE_TEST_JOB(mean_sizes) {
  totals(job)
      .map_values(
          [](const Total& total) { return static_cast<double>(total.letters) / static_cast<double>(total.words); })
      .map_values([](double mean) { return 1000 * mean; })
      .publish("means")
      .rank("top", 2);
}
TEST(Running, map_values_shows_something_else_than_the_state) {
  TestJob job(mean_sizes);
  for (const char* line : {"aa aab aacc", "bb", "cccc", "ccc aaa"}) job.push(line);
  for (int time = 0; time < 2; ++time) {
    job.run_batch();
    EXPECT_THAT(job.table(), ElementsAre(Pair("aa", "3000"), Pair("bb", "2000"), Pair("cc", "3500")));
    EXPECT_THAT(job.top(2), ElementsAre(Pair("cc", "3500"), Pair("aa", "3000")));
    EXPECT_EQ(job.get("bb"), "2000");
    job.crash();
  }
  const auto refused = make_job({"test", "",
                                 [](JobBuilder& builder) {
                                   const auto table = totals(builder).map_values(&Total::words);
                                   table.publish("words");
                                   table.map_values([](int64_t words) { return -words; }).rank("fewest", 3);
                                 }},
                                {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("publish what is ranked"));
}

MILLRACE_TEST_JOB(distinct_words) {
  job.lines().flat_map(split_words).distinct().publish("words");
}
TEST(Running, distinct) {
  expect_model(distinct_words, {}, [] {
    return [table = ModelTable()](const ModelBatch& batch) mutable {
      for (const std::string& line : batch.lines) {
        for (const std::string& word : words_of(line)) table[word] = "1";
      }
      return table;
    };
  });
}

MILLRACE_TEST_JOB(number_of_lines) {
  job.records().count().publish("lines");
}
MILLRACE_TEST_JOB(longest_line) {
  job.lines()
      .map([](std::string_view line) { return line.size(); })
      .reduce([](size_t a, size_t b) { return std::max(a, b); }, "longest")
      .publish("longest");
}
TEST(Running, count_and_reduce_have_one_key) {
  expect_model(number_of_lines, {}, [] {
    return [lines = size_t{0}](const ModelBatch& batch) mutable {
      lines += batch.lines.size();
      return lines == 0 ? ModelTable() : ModelTable{{"all", std::to_string(lines)}};
    };
  });
  expect_model(longest_line, {}, [] {
    return [longest = std::optional<size_t>()](const ModelBatch& batch) mutable {
      for (const std::string& line : batch.lines) longest = std::max(longest.value_or(0), line.size());
      return longest ? ModelTable{{"all", std::to_string(*longest)}} : ModelTable();
    };
  });
}

// --- time to live ------------------------------------------------------------------------------------------------

MILLRACE_TEST_JOB(recent_counts) {
  job.lines().flat_map(split_words).count_by_value({.time_to_live = 300ms}).publish("recent");
}
MILLRACE_TEST_JOB(recent_words) {
  job.lines().flat_map(split_words).distinct({.name = "seen", .time_to_live = 300ms}).publish("recent");
}
// Keys go at the first tick that is 300 ms later than their last input.
auto recent(const std::function<std::string(int64_t)>& show) {
  return [show] {
    struct Entry {
      int64_t count = 0;
      int64_t touched_ms = 0;
    };
    return [show, model = std::map<std::string, Entry>()](const ModelBatch& batch) mutable {
      for (const std::string& line : batch.lines) {
        for (const std::string& word : words_of(line)) {
          ++model[word].count;
          model[word].touched_ms = batch.time_ms;
        }
      }
      if (batch.tick)
        std::erase_if(model, [&](const auto& each) { return each.second.touched_ms + 300 <= batch.time_ms; });
      ModelTable table;
      for (const auto& [word, entry] : model) table[word] = show(entry.count);
      return table;
    };
  };
}
TEST(Running, keys_without_input_for_their_time_to_live_go) {
  const ModelOptions options{.needs_time = true, .batches = 60, .distinct = 60, .most_lines = 8};
  expect_model(recent_counts, options, recent([](int64_t count) { return std::to_string(count); }));
  expect_model(recent_words, options, recent([](int64_t) { return "1"; }));
}

TEST(Running, a_time_to_live_that_is_none_is_refused) {
  const auto error_of = [](void (*define)(JobBuilder&)) {
    const auto refused = make_job({"test", "", define}, {});
    return refused ? "" : refused.error().message;
  };
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().count({.time_to_live = -5ms}).publish("a"); }),
              HasSubstr("a time to live of -5ms"));
}

// --- state functions ---------------------------------------------------------------------------------------------

// Sums word sizes; a key's sum halves at each tick without input, and it goes at zero.
std::optional<int64_t> decay(std::span<const std::string> words, std::optional<int64_t> sum) {
  int64_t next = sum.value_or(0);
  for (const std::string& word : words) next += static_cast<int64_t>(word.size());
  if (words.empty()) next /= 2;
  return next == 0 ? std::nullopt : std::optional(next);
}
MILLRACE_TEST_JOB(decaying_sums) {
  words_by_beginning(job)
      .update_state_by_key<int64_t>(
          [](std::span<const std::string> words, std::optional<int64_t> sum) { return decay(words, sum); })
      .publish("sums")
      .rank("top", 3);
}
TEST(Running, update_state_by_key_is_called_for_all_keys_at_each_tick) {
  expect_model(decaying_sums, {.needs_time = true, .distinct = 100, .most_lines = 6}, [] {
    return [model = Model<int64_t>()](const ModelBatch& batch) mutable {
      std::map<std::string, std::vector<std::string>> values;
      for (const std::string& line : batch.lines) {
        for (const std::string& word : words_of(line)) values[word.substr(0, 2)].push_back(word);
      }
      if (batch.tick) {
        for (const auto& [key, sum] : model) values[key];
      }
      for (const auto& [key, words] : values) {
        const auto before = model.find(key);
        const auto after = decay(words, before == model.end() ? std::nullopt : std::optional(before->second));
        model.erase(key);
        if (after) model[key] = *after;
      }
      return texts(model);
    };
  });
}

// The key, the last words, and when the first of them came; forgotten at every fifth word.
using Last = std::tuple<std::string, std::vector<std::string>, int64_t>;
std::optional<Last> last_of(const std::string& key, std::span<const std::string> words, std::optional<Last> last,
                            int64_t time_ms) {
  if (!last) last = Last{key, {}, time_ms};
  for (const std::string& word : words) std::get<1>(*last).push_back(word);
  if (std::get<1>(*last).size() >= 5) return std::nullopt;
  return last;
}
MILLRACE_TEST_JOB(last_words) {
  words_by_beginning(job)
      .update_state_by_key<Last>(
          [](const std::string& key, std::span<const std::string> words, std::optional<Last> last, BatchTime time) {
            return last_of(key, words, last, time.time_since_epoch().count());
          },
          {.name = "last", .only_changed = true})
      .publish("last");
}
TEST(Running, update_state_by_key_of_changed_keys_is_given_key_order_and_time) {
  expect_model(last_words, {.distinct = 100, .most_lines = 6}, [] {
    return [model = Model<Last>()](const ModelBatch& batch) mutable {
      std::map<std::string, std::vector<std::string>> values;
      for (const std::string& line : batch.lines) {
        for (const std::string& word : words_of(line)) values[word.substr(0, 2)].push_back(word);
      }
      for (const auto& [key, words] : values) {
        const auto before = model.find(key);
        const auto after =
            last_of(key, words, before == model.end() ? std::nullopt : std::optional(before->second), batch.time_ms);
        model.erase(key);
        if (after) model[key] = *after;
      }
      return texts(model);
    };
  });
}

MILLRACE_TEST_JOB(flags) {
  job.lines()
      .map([](std::string_view line) { return std::pair(line.substr(0, 1), line.size() > 1); })
      .update_state_by_key<bool>([](std::span<const bool> values, std::optional<bool> state) {
        for (const bool value : values) state = value;
        return state;
      })
      .publish("flags");
}
TEST(Running, a_state_that_stays_the_same_changes_nothing) {
  TestJob job(flags);
  for (const char* line : {"ab", "b", "a", "cc"}) job.push(line);
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("a", "false"), Pair("b", "false"), Pair("c", "true")));
  const auto definition = make_job(flags, {});
  ASSERT_TRUE(definition);
  EXPECT_TRUE((*definition)->needs_time());
  EXPECT_TRUE((*definition)->removes_keys());
  const auto table = (*definition)->make_state_table();
  table->finish_restore(0);
  const std::string exact = std::string("\x00\x04", 2) + std::string("\x01\x01x\x01", 4);
  const std::string_view view = exact;
  ASSERT_TRUE(table->apply({BatchId(1), 100, true}, std::span(&view, 1)));
  EXPECT_TRUE(table->changed());
  ASSERT_TRUE(table->apply({BatchId(2), 200, true}, {}));
  EXPECT_FALSE(table->changed());
  ASSERT_TRUE(table->apply({BatchId(3), 300, true}, std::span(&view, 1)));
  EXPECT_FALSE(table->changed());
  EXPECT_EQ(table->read("x", BatchId(3)), "true");
}

// Words are documents here, which the last line of a beginning replaces: with its letters in place of the former ones'.
MILLRACE_TEST_JOB(letters_of_last_words) {
  words_by_beginning(job)
      .combine_by_key<std::string>([](const std::string& first) { return first; },
                                   [](const std::string&, const std::string& last) { return last; })
      .changes()
      .flat_map(emitting<std::pair<std::string, Posting<std::string>>>(
          [](const Change<std::string, std::string>& change, auto& emit) {
            const auto add = [&](const std::optional<std::string>& word, int64_t count) {
              for (const char letter : word.value_or(""))
                emit(std::pair(std::string(1, letter), Posting{change.key, count}));
            };
            add(change.before, -1);
            add(change.after, 1);
          }))
      .index_by_key("letters")
      .publish("letters")
      .rank("top", 5);
}
TEST(Running, an_index_follows_what_its_members_are_made_of) {
  expect_model(letters_of_last_words, {.most_words = 4, .distinct = 300, .most_lines = 10}, [] {
    return [last = std::map<std::string, std::string>()](const ModelBatch& batch) mutable {
      for (const std::string& line : batch.lines) {
        for (const std::string& word : words_of(line)) last[word.substr(0, 2)] = word;
      }
      Model<int64_t> members;
      for (const auto& [beginning, word] : last) {
        for (const char letter : std::set(word.begin(), word.end())) ++members[std::string(1, letter)];
      }
      return texts(members);
    };
  });
}

MILLRACE_TEST_JOB(numbers_of_words) {
  job.lines()
      .flat_map([](std::string_view line) { return words_of(std::string(line)); })
      .map([](const std::string& word) { return std::pair(word.size(), std::pair(word, int64_t{word.back()})); })
      .index_by_key()
      .publish("sizes");
}
TEST(Running, keys_and_members_of_an_index_may_be_anything_that_is_a_key) {
  TestJob job(numbers_of_words);
  job.push("aa bb a\\ aa");
  job.run_batch();
  job.checkpoint();
  job.crash();
  EXPECT_THAT(job.docs("2", 10), ElementsAre(Pair("aa\t97", 2), Pair("a\\\\\t92", 1), Pair("bb\t98", 1)));
}

MILLRACE_TEST_JOB(words_as_strings) {
  job.lines().count_by_value().publish("words", TableForm::kStrings);
}
TEST(Running, a_table_is_published_in_the_form_that_is_said) {
  EXPECT_EQ(make_job(words_as_strings, {}).value()->tables().front().form, TableForm::kStrings);
  EXPECT_EQ(make_job(numbers_of_words, {}).value()->tables().front().form, TableForm::kIndex);
}

TEST(Running, refused_records_leave_nothing_in_a_list_of_pairs) {
  const JobDefinition definition{"test", "", [](JobBuilder& job) {
                                   job.lines()
                                       .flat_map(emitting<std::pair<std::string, std::string>>(
                                           [](std::string_view line, auto& emit) -> RecordProblem {
                                             for (const char each : line) {
                                               if (each == '!') return "it has a '!'";
                                               emit(std::pair("k", std::string(1, each)));
                                             }
                                             return std::nullopt;
                                           }))
                                       .reduce_by_key([](std::string& all, const std::string& next) { all += next; })
                                       .publish("all");
                                 }};
  TestJob job(definition, {.piece_records = 2});
  for (const char* line : {"ab", "cd!", "", "e!f", "gh"}) job.push(line);
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("k", "abgh")));
  EXPECT_THAT(job.dead_letters(), ::testing::SizeIs(2));
  job.crash();
  EXPECT_THAT(job.table(), ElementsAre(Pair("k", "abgh")));
}

// --- several published tables ------------------------------------------------------------------------------------

MILLRACE_TEST_JOB(words_and_beginnings) {
  const auto words = job.lines().flat_map([](std::string_view line) { return words_of(std::string(line)); });
  const auto counts = words.count_by_value().publish("words").rank("top", 3);
  counts.count_by([](const std::string& word, int64_t) { return word.substr(0, 1); })
      .publish("beginnings")
      .rank("most", 2);
  words.map([](const std::string& word) { return std::pair(std::string("longest"), word.size()); })
      .reduce_by_key([](size_t& into, const size_t& from) { into = std::max(into, from); })
      .publish("sizes");
}
TEST(SeveralTables, each_is_published_ranked_and_restored) {
  TestJob job(words_and_beginnings, {.state_partitions = 3});
  job.push("ant bee ape bat");
  job.push("bee", 1);
  job.run_batch();
  job.checkpoint();
  job.push("auk bee");
  job.run_batch();
  for (const bool crashed : {false, true}) {
    if (crashed) job.crash();
    EXPECT_THAT(job.table(),
                ElementsAre(Pair("ant", "1"), Pair("ape", "1"), Pair("auk", "1"), Pair("bat", "1"), Pair("bee", "3")));
    EXPECT_EQ(&job.table(), &job.table("words"));
    EXPECT_THAT(job.table("beginnings"), ElementsAre(Pair("a", "3"), Pair("b", "2")));
    EXPECT_THAT(job.table("sizes"), ElementsAre(Pair("longest", "3")));
    EXPECT_THAT(job.top(2), ElementsAre(Pair("bee", "3"), Pair("ant", "1")));
    EXPECT_THAT(job.top(9, "beginnings"), ElementsAre(Pair("a", "3"), Pair("b", "2")));
    EXPECT_EQ(job.get("bee"), "3");
    EXPECT_EQ(job.get("b", "beginnings"), "2");
    EXPECT_EQ(job.get("b", "words"), std::nullopt);
  }
  EXPECT_THROW(std::ignore = job.get("b", "word"), std::invalid_argument);
}

TEST(SeveralTables, names_and_states_are_each_ones_own) {
  const auto error_of = [](void (*define)(JobBuilder&)) {
    const auto refused = make_job({"test", "", define}, {});
    return refused ? "" : refused.error().message;
  };
  EXPECT_THAT(error_of([](JobBuilder& job) {
                job.lines().count_by_value("one").publish("a").rank("b", 1);
                job.lines().count_by_value("two").publish("b");
              }),
              HasSubstr("a table and a rank are both named 'b'"));
  EXPECT_THAT(error_of([](JobBuilder& job) {
                job.lines().count_by_value("one").publish("a").rank("top", 1);
                job.lines().count_by_value("two").publish("b").rank("top", 1);
              }),
              HasSubstr("two ranks are both named 'top'"));
  EXPECT_THAT(error_of([](JobBuilder& job) {
                const auto counts = job.lines().count_by_value();
                counts.publish("a");
                counts.map_values([](int64_t count) { return count + 1; }).publish("b");
              }),
              HasSubstr("published twice, as 'a' and 'b'"));
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().count_by_value().publish("a b"); }), HasSubstr("A-Z"));
}

// --- exceptions ------------------------------------------------------------------------------------------------------

void merges_that_throw(JobBuilder& job) {
  job.lines()
      .map([](std::string_view line) { return std::pair(line, 1); })
      .reduce_by_key([](int, int) -> int { throw std::runtime_error("no merge"); })
      .publish("merged");
}
TEST(Exceptions, a_merge_that_throws_fails_the_job_by_name) {
  TestJob job({"test", "", merges_that_throw});
  job.push("a");
  job.run_batch();
  job.push("a");
  EXPECT_THAT(
      [&] { job.run_batch(); },
      ThrowsMessage<std::logic_error>(HasSubstr(
          "in state 'reduce_by_key', key 'a': no merge; nothing is lost: mend the code and `millrace upgrade`")));
  TestJob within({"test", "", merges_that_throw});
  for (int i = 0; i < 20; ++i) within.push("a");
  EXPECT_THAT(
      [&] { within.run_batch(); },
      ThrowsMessage<std::runtime_error>(HasSubstr("in state 'reduce_by_key', merging pairs in the map: no merge; ")));
}

}  // namespace
}  // namespace millrace
