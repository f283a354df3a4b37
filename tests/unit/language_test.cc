// The language of jobs: each operator against plain code on the same input, through crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "job_model.h"

namespace millrace {
namespace {

using millrace::testing::Options;
using millrace::testing::TestJob;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

using Values = std::map<std::string, std::string>;
using Counts = std::map<std::string, int64_t>;

std::string random_line(std::mt19937_64& random) {
  std::string line;
  for (uint64_t words = random() % 8; words != 0; --words) {
    line += "w" + std::to_string(random() % 50);
    if (random() % 20 == 0) line += "-with-an-ending-that-makes-it-long";
    line += " ";
  }
  return line;
}

// Runs lines of chance through a job, with checkpoints and crashes of chance, and compares what is published after each
// batch with what `expect` makes of each line.
void expect_counts(const JobDefinition& definition, const std::function<void(const std::string&, Counts&)>& expect) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    std::mt19937_64 random(seed);
    TestJob job(definition, {.piece_records = 1 + random() % 700});
    Counts counts;
    for (int batch = 0; batch < 20; ++batch) {
      for (uint64_t lines = random() % 300; lines != 0; --lines) {
        const std::string line = random_line(random);
        job.push(line, static_cast<int32_t>(random() % 3));
        expect(line, counts);
      }
      job.run_batch();
      if (random() % 3 == 0) job.checkpoint();
      if (random() % 3 == 0) job.crash();
      Values values;
      for (const auto& [key, count] : counts) values[key] = std::to_string(count);
      ASSERT_EQ(job.table(), values) << "seed " << seed << ", batch " << batch;
      for (const auto& [key, value] : values) ASSERT_EQ(job.get(key), value) << key;
    }
    EXPECT_THAT(job.dead_letters(), IsEmpty());
  }
}

MILLRACE_TEST_JOB(counts_words) {
  job.lines().flat_map(split_words).count_by_value().publish("counts");
}
TEST(Language, counts_words) {
  expect_counts(counts_words, [](const std::string& line, Counts& counts) {
    for (const std::string& word : words_of(line)) ++counts[word];
  });
}

MILLRACE_TEST_JOB(counts_long_lines_by_size) {
  job.lines()
      .map([](std::string_view line) { return line.size(); })
      .filter([](size_t size) { return size > 5; })
      .count_by_value()
      .publish("sizes");
}
TEST(Language, map_and_filter) {
  expect_counts(counts_long_lines_by_size, [](const std::string& line, Counts& counts) {
    if (line.size() > 5) ++counts[std::to_string(line.size())];
  });
}

MILLRACE_TEST_JOB(sums_sizes_by_first_letters) {
  job.lines()
      .flat_map([](std::string_view line) { return words_of(std::string(line)); })
      .key_by([](const std::string& word) { return std::pair(word.substr(0, 2), static_cast<int>(word.size() % 2)); })
      .map([](const auto& pair) { return std::pair(pair.first, static_cast<int64_t>(pair.second.size())); })
      .reduce_by_key([](int64_t a, int64_t b) { return a + b; })
      .publish("sums");
}
TEST(Language, flat_map_to_a_range_with_composite_keys) {
  expect_counts(sums_sizes_by_first_letters, [](const std::string& line, Counts& counts) {
    for (const std::string& word : words_of(line)) {
      counts[word.substr(0, 2) + "\t" + std::to_string(word.size() % 2)] += static_cast<int64_t>(word.size());
    }
  });
}

MILLRACE_TEST_JOB(longest_words) {
  const auto words = [](auto lines) {
    return lines.flat_map(
        emitting<std::string_view>([](std::string_view line, auto& emit) { split_words(line, emit); }));
  };
  job.lines()
      .transform(words)
      .map([](std::string_view word) { return std::pair(word.substr(0, 2), static_cast<uint32_t>(word.size())); })
      .reduce_by_key([](uint32_t& into, const uint32_t& from) { into = std::max(into, from); })
      .publish("longest");
}
TEST(Language, transform_and_a_merge_in_place) {
  expect_counts(longest_words, [](const std::string& line, Counts& counts) {
    for (const std::string& word : words_of(line)) {
      int64_t& longest = counts[word.substr(0, 2)];
      longest = std::max(longest, static_cast<int64_t>(word.size()));
    }
  });
}

MILLRACE_TEST_JOB(words_and_their_first_letters) {
  const auto words = job.lines().flat_map(split_words).cache();
  const auto letters = words.map([](const std::string& word) { return word.substr(0, 1); });
  letters.count_by_value("unpublished");
  words.filter([](const std::string& word) { return word.size() == 2; })
      .union_with(letters)
      .count_by_value()
      .publish("c");
}
TEST(Language, cache_and_union) {
  expect_counts(words_and_their_first_letters, [](const std::string& line, Counts& counts) {
    for (const std::string& word : words_of(line)) {
      if (word.size() == 2) ++counts[word];
      ++counts[word.substr(0, 1)];
    }
  });
}

MILLRACE_TEST_JOB(the_last_one_stays) {
  const auto lines = job.lines().map([](std::string_view line) { return std::stoll(std::string(line)); }).cache();
  const auto keyed = [](int64_t sign) {
    return [sign](int64_t number) { return std::pair(std::string("last"), sign * number); };
  };
  lines.map(keyed(1))
      .union_with(lines.map(keyed(-1)))
      .reduce_by_key([](int64_t& into, const int64_t& from) { into = from; })  // shows the order
      .publish("last");
}
TEST(Language, a_union_stands_in_the_order_of_records_wherever_chunks_end) {
  for (const size_t piece : {1, 3, 255, 256, 257, 5000}) {
    TestJob job(the_last_one_stays, {.piece_records = piece});
    for (int i = 1; i <= 1000; ++i) job.push(i % 100 == 99 ? "none" : std::to_string(i));
    job.run_batch();
    EXPECT_THAT(job.table(), ElementsAre(Pair("last", "-1000"))) << piece;
    EXPECT_THAT(job.dead_letters(), SizeIs(10));
    job.crash();
    EXPECT_THAT(job.table(), ElementsAre(Pair("last", "-1000"))) << piece;
  }
}

// --- refused records ---------------------------------------------------------------------------------------------

struct Digits {
  using Output = int;
  template <typename Emit>
  void operator()(std::string_view text, Emit& emit) const {
    for (const char each : text) {
      if (each < '0' || each > '9') throw std::invalid_argument("not a digit: " + std::string(1, each));
      emit(each - '0');
    }
  }
};
MILLRACE_TEST_JOB(counts_digits_twice) {
  job.lines().flat_map(Digits()).count_by_value("unpublished");
  job.lines()
      .map([](std::string_view line) -> std::expected<std::string, std::string> {
        if (line.size() > 4) return std::unexpected("too many digits");
        return std::string(line);
      })
      .flat_map(Digits())
      .count_by_value()
      .publish("digits");
}

TEST(Language, nothing_of_a_refused_record_counts_in_any_branch) {
  TestJob job(counts_digits_twice, {.piece_records = 2});
  for (const char* line : {"12", "13x", "14", "12345", "", "2"}) job.push(line);
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("1", "2"), Pair("2", "2"), Pair("4", "1")));
  EXPECT_EQ(job.records(), 6);
  ASSERT_THAT(job.dead_letters(), SizeIs(2));
  EXPECT_EQ(job.dead_letters()[0].offset, Offset(1));
  EXPECT_EQ(job.dead_letters()[0].reason, "not a digit: x");
  EXPECT_EQ(job.dead_letters()[1].offset, Offset(3));
  EXPECT_EQ(job.dead_letters()[1].reason, "too many digits");
  job.crash();
  EXPECT_THAT(job.table(), ElementsAre(Pair("1", "2"), Pair("2", "2"), Pair("4", "1")));
}

MILLRACE_TEST_JOB(sums_numbers) {
  job.lines()
      .flat_map(split_words)
      .map([](std::string_view word) { return std::pair("sum", std::stoll(std::string(word))); })
      .map([](const auto& pair) { return std::pair(std::string(pair.first), int64_t{pair.second}); })
      .reduce_by_key(std::plus<int64_t>())
      .publish("sums");
}
TEST(Language, what_follows_a_noexcept_function_may_throw) {
  TestJob job(sums_numbers);
  for (const char* line : {"1 2", "3 four 5", "6"}) job.push(line);
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("sum", "9")));
  EXPECT_THAT(job.dead_letters(), SizeIs(1));
}

MILLRACE_TEST_JOB(counts_fields) {
  const auto fields = emitting<std::pair<std::string, int64_t>>([](std::string_view line, auto& emit) -> RecordProblem {
    for (const char each : line) {
      if (each == '!') return "it has a '!'";
      if (each == '?') throw 42;
      emit(std::pair(each == 'a' ? "a name that is longer than a slot" : "other", 1));  // made into the Output
    }
    return std::nullopt;
  });
  job.lines().flat_map(fields).reduce_by_key(std::plus<int64_t>()).publish("fields");
}
TEST(Language, a_function_may_refuse_after_it_has_emitted_and_throw_anything) {
  TestJob job(counts_fields);
  for (const char* line : {"ab", "aa!", "b?", "a"}) job.push(line);
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("a name that is longer than a slot", "2"), Pair("other", "1")));
  ASSERT_THAT(job.dead_letters(), SizeIs(2));
  EXPECT_EQ(job.dead_letters()[0].reason, "it has a '!'");
  EXPECT_THAT(job.dead_letters()[1].reason, HasSubstr("no std::exception"));
}

MILLRACE_TEST_JOB(counts_by_topic) {
  job.records()
      .map([](const Record& record) -> std::expected<std::string, std::string> {
        if (record.value == "bad") return std::unexpected("it is bad");
        return std::string(record.topic) + " " + std::to_string(record.partition.value());
      })
      .count_by_value()
      .publish("counts");
}
TEST(Language, a_record_says_of_which_topic_and_partition_of_it_it_is) {
  TestJob job(counts_by_topic, {.topics = {"orders", "payments"}});
  job.push({.value = "a", .topic = "payments"}, 1);
  job.push("c", 7);
  job.push({.value = "bad", .topic = "payments"}, 3);
  job.run_batch();
  job.crash();
  EXPECT_THAT(job.table(), ElementsAre(Pair("orders 7", "1"), Pair("payments 1", "1")));
  EXPECT_EQ(job.dead_letters().at(0).topic + std::to_string(job.dead_letters().at(0).partition), "payments3");
}

MILLRACE_TEST_JOB(counts_of_a_setting) {
  const std::string only = job.setting("only", "a", "the word that is counted");
  const std::string how = job.choice("how", {"once", "twice"}, "how often");
  const int64_t step = how == "once" ? 1 : 2;
  job.lines()
      .flat_map(split_words)
      .filter([only](std::string_view word) { return word == only; })
      .map([step](std::string_view word) { return std::pair(word, step); })
      .reduce_by_key(std::plus<int64_t>())
      .publish("counts");
}
TEST(Language, settings_are_checked_and_captured) {
  TestJob job(counts_of_a_setting, {.settings = {{"only", "b"}, {"how", "twice"}}});
  job.push("a b a b\xff");
  job.push("a b");
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("b", "2")));
  EXPECT_THAT(job.dead_letters(), SizeIs(1));

  const auto error_of = [](std::map<std::string, std::string> settings) {
    const auto refused = make_job(counts_of_a_setting, {.settings = std::move(settings)});
    return refused ? "" : refused.error().message;
  };
  EXPECT_EQ(error_of({}), "");
  EXPECT_THAT(error_of({{"how", "thrice"}}), HasSubstr("setting 'how' must be once or twice, not 'thrice'"));
  EXPECT_THAT(error_of({{"whom", "x"}}),
              HasSubstr("no setting 'whom'; its settings: only=a (the word that is counted)"));
  EXPECT_THAT(settings_of(counts_of_a_setting, {}).value(), SizeIs(2));
  JobContext context;
  JobBuilder builder(context);
  EXPECT_EQ(builder.decimal("share", 0.25, 0, 1, ""), 0.25);
  EXPECT_EQ(builder.settings().back().default_value, "0.25");
  for (const char* bad : {"1.5", "nan", "1e", ""}) {
    context.settings["part"] = bad;
    EXPECT_THROW((void)JobBuilder(context).decimal("part", 0.5, 0, 1, ""), JobError) << bad;
  }
  context.settings["part"] = "1e-3";
  EXPECT_EQ(JobBuilder(context).decimal("part", 0.5, 0, 1, ""), 1e-3);
}

TEST(Language, a_definition_that_is_no_job_is_refused) {
  const auto error_of = [](void (*define)(JobBuilder&)) {
    const auto refused = make_job({"test", "", define}, {});
    return refused ? "" : refused.error().message;
  };
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().count_by_value(); }),
              HasSubstr("publishes and writes nothing"));
  EXPECT_THAT(error_of([](JobBuilder& job) {
                job.lines().count_by_value().publish("a");
                job.lines().count_by_value().publish("b");
              }),
              HasSubstr("two states are named 'count_by_value'"));
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().count_by_value().publish("status"); }), HasSubstr("the sink"));
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().count_by_value().publish("a", TableForm::kIndex); }),
              HasSubstr("'a' is no index"));
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().count_by_value().publish("a").rank("a", 1); }),
              HasSubstr("both named 'a'"));
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().count_by_value().publish("a").rank("b", 1).rank("c", 1); }),
              HasSubstr("two ranks, 'b' and 'c'"));
  EXPECT_THAT(error_of([](JobBuilder& job) {
                job.setting("x", "", "");
                job.setting("x", "", "");
              }),
              HasSubstr("declares the setting 'x' twice"));
}

// --- codecs and keys ---------------------------------------------------------------------------------------------

struct Inner {
  std::string name;
  std::optional<double> weight;
  MILLRACE_FIELDS(Inner, name, weight)
};
struct Outer {
  int32_t number;
  std::vector<Inner> inners;
  std::map<std::string, std::pair<bool, uint16_t>> by_name;
  std::tuple<int64_t, std::string> last;
  MILLRACE_FIELDS(Outer, number, inners, by_name, last)
};

template <typename T>
std::string encoded(const T& value) {
  std::string bytes(Codec<T>::size(value), '\0');
  EXPECT_EQ(Codec<T>::encode(bytes.data(), value), bytes.data() + bytes.size());
  return bytes;
}

template <typename T>
bool decode(const std::string& bytes, T& value) {
  const auto exact = std::make_unique<char[]>(bytes.size());  // so that a sanitizer sees a read past the end
  std::copy(bytes.begin(), bytes.end(), exact.get());
  const char* at = exact.get();
  const char* end = at + bytes.size();
  return Codec<T>::decode(at, end, value) && at == end;
}

MILLRACE_TEST_JOB(shows_its_interval) {
  const auto interval = job.batch_interval();
  job.lines().map([interval](std::string_view) { return interval.count(); }).count_by_value().publish("intervals");
}
TEST(TestJob, batches_come_at_the_interval_and_after_what_was_passed_over) {
  using std::chrono::milliseconds;
  TestJob job(shows_its_interval, {.batch_interval = milliseconds(250)});
  EXPECT_EQ(job.batch_time(), 0);
  job.run_batch();
  EXPECT_EQ(job.batch_time(), 250);
  job.advance(milliseconds(1100));
  job.push("now");
  job.run_batch();
  EXPECT_EQ(job.batch_time(), 1500);  // a multiple of the interval
  job.run_early_batch();
  EXPECT_EQ(job.batch_time(), 1750);
  job.run_batch();
  EXPECT_EQ(job.batch_time(), 1750);
  EXPECT_EQ(job.table(), (Values{{"250000", "1"}}));
  EXPECT_THROW(job.advance(milliseconds(-1)), std::invalid_argument);
  EXPECT_THROW(TestJob(shows_its_interval, {.batch_interval = milliseconds(0)}), std::invalid_argument);
}

// What a table was told of time, as its only value.
class TimedTable : public StateTable {
 public:
  Status apply(const BatchContext& context, std::span<const std::string_view>) override {
    told_ +=
        " " + std::to_string(context.batch.value()) + "@" + std::to_string(context.time_ms) + (context.tick ? "" : "?");
    return {};
  }
  [[nodiscard]] bool changed() const override { return false; }
  void finish_restore(int64_t tick_ms) override { told_ += " from " + std::to_string(tick_ms); }
  [[nodiscard]] std::optional<std::string> read(std::string_view, BatchId) const override { return told_; }
  void forget_undo(BatchId) override {}
  void freeze(StatePartition, StateRun&) override {}
  void settle_freeze(bool) override {}
  Status restore(const StateRun::Entry&, bool) override { return {}; }
  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool) override { return {{.key = "told", .text = told_}}; }
  void settle_publication(bool) override {}
  [[nodiscard]] std::vector<SinkEntry> top(size_t) override { return {}; }
  [[nodiscard]] std::vector<SinkEntry> top_above(size_t, double) override { return {}; }
  [[nodiscard]] int64_t keys() const override { return 1; }
  [[nodiscard]] int64_t memory_bytes() const override { return 0; }

 private:
  std::string told_;
};

TEST(Graph, each_state_is_told_the_time_and_the_end_of_its_restore) {
  const auto graph = std::make_shared<internal::Graph>();
  graph->publish(graph->add_state("timed", "text", "", [](size_t) { return std::make_unique<TimedTable>(); }), "told");
  EXPECT_FALSE(internal::GraphJob(graph, {}).needs_time());
  EXPECT_FALSE(internal::GraphJob(graph, {}).removes_keys());
  graph->need_time();
  graph->remove_keys();
  const internal::GraphJob job(graph, {});
  EXPECT_TRUE(job.needs_time());
  EXPECT_TRUE(job.removes_keys());
  const auto table = job.make_state_table();
  table->finish_restore(50);
  ASSERT_TRUE(table->apply({BatchId(7), 100, true}, {}));
  ASSERT_TRUE(table->apply({BatchId(8), 400, false}, {}));
  EXPECT_EQ(table->read("told", BatchId(8)), " from 50 7@100 8@400?");
}

TEST(Graph, a_job_that_needs_time_needs_an_interval_of_whole_milliseconds) {
  internal::Graph graph;
  graph.publish(graph.add_state("timed", "text", "", [](size_t) { return std::make_unique<TimedTable>(); }), "told");
  JobContext context;
  context.batch_interval_us = 2500;
  graph.finish(context);
  graph.need_time();
  try {
    graph.finish(context);
    FAIL() << "it was taken";
  } catch (const JobError& refused) {
    EXPECT_THAT(refused.what(), HasSubstr("2500 microseconds"));
    EXPECT_THAT(refused.what(), HasSubstr("whole milliseconds"));
  }
  context.batch_interval_us = 2000;
  graph.finish(context);
}

TEST(Codec, values_come_back_and_cut_ones_are_refused) {
  const Outer value{-7, {{"a", 0.1}, {"", std::nullopt}}, {{"x", {true, 65535}}, {"", {false, 0}}}, {INT64_MIN, "end"}};
  const std::string bytes = encoded(value);
  Outer back;
  ASSERT_TRUE(decode(bytes, back));
  EXPECT_TRUE(back == value);
  for (size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode(bytes.substr(0, size), back)) << size;
}

TEST(Codec, numbers_beyond_the_type_are_refused) {
  uint8_t byte = 0;
  EXPECT_FALSE(decode(encoded(uint32_t{256}), byte));
  int16_t small = 0;
  EXPECT_FALSE(decode(encoded(int32_t{-40000}), small));
  for (const int64_t number : {INT64_MIN, INT64_MAX, int64_t{0}, int64_t{-1}, int64_t{64}}) {
    int64_t back = 1;
    ASSERT_TRUE(decode(encoded(number), back));
    EXPECT_EQ(back, number);
  }
}

TEST(Codec, a_number_of_elements_without_end_is_refused) {
  std::vector<std::tuple<>> nothings;
  EXPECT_FALSE(decode(encoded(uint64_t{1} << 60), nothings));
  EXPECT_FALSE(decode(encoded(uint64_t{1} << 60) + "and more", nothings));
}

template <typename K>
void expect_key(const K& key, std::string_view text) {
  KeyBuffer buffer;
  EXPECT_EQ(KeyText<K>::view(key, buffer), text);
  K back{};
  EXPECT_TRUE(KeyText<K>::parse(text, back));
  EXPECT_EQ(back, key);
}

TEST(KeyText, is_what_people_read_and_comes_back) {
  expect_key(std::string("a\tb"), "a\tb");
  expect_key(int64_t{-12}, "-12");
  expect_key(std::pair(std::string("a\tb\\c\nd"), 5), "a\\tb\\\\c\\nd\t5");
  expect_key(std::tuple(std::string(), uint8_t{255}, std::string("x")), "\t255\tx");
  uint8_t byte = 0;
  EXPECT_FALSE(KeyText<uint8_t>::parse("256", byte));
  EXPECT_FALSE(KeyText<uint8_t>::parse("-1", byte));
  std::pair<std::string, int> pair;
  for (const char* wrong : {"a", "a\tb", "a\t1\t2", "a\\x\t1", "a\\", ""}) {
    EXPECT_FALSE((KeyText<std::pair<std::string, int>>::parse(wrong, pair))) << wrong;
  }
}

}  // namespace
}  // namespace millrace
