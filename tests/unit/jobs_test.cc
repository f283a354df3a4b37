// The built-in jobs through the interface of stream/job.h: from record batches over sections to values.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/model/record_batch.h"
#include "jobs/registry.h"
#include "jobs/two_sum.h"
#include "stream/layout.h"
#include "stream/varint.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;

std::shared_ptr<const Job> make(const std::string& type, std::map<std::string, std::string> settings = {},
                                int64_t max_record_bytes = 1 << 20) {
  JobContext context;
  context.settings = std::move(settings);
  context.max_record_bytes = max_record_bytes;
  auto job = make_builtin_job(type, context);
  CHECK(job.has_value()) << job.error().message;
  return *job;
}

std::string batch_of(const std::vector<std::optional<std::string>>& values, int64_t offset = 0) {
  RecordBatchBuilder builder;
  for (const auto& value : values) {
    builder.add(Offset(offset), 1001 + offset, std::nullopt, value);
    ++offset;
  }
  return builder.finish();
}

OffsetRange range(int64_t from, int64_t to) {
  return {Offset(from), Offset(to)};
}

struct Mapped {
  MapReport report;
  std::vector<ShuffleBlock::Section> sections;
};

Mapped map(const Job& job, const std::vector<std::optional<std::string>>& values, int32_t partition = 0) {
  const auto task = job.make_map_task();
  Mapped mapped;
  const auto end = static_cast<int64_t>(values.size());
  EXPECT_TRUE(task->map(LogPartition(partition), range(0, end), batch_of(values), mapped.report));
  mapped.sections = task->finish();
  return mapped;
}

// All values after one batch of these records, as the sink shows them.
std::map<std::string, std::string> results(const Job& job, const Mapped& mapped) {
  std::map<std::string, std::string> values;
  for (const auto& section : mapped.sections) {
    const auto table = job.make_state_table();
    const std::string_view bytes = section.bytes.view();
    EXPECT_TRUE(table->apply({BatchId(1)}, std::span(&bytes, 1)));
    for (const SinkEntry& entry : table->take_unpublished(true)) {
      EXPECT_EQ(state_partition_of(entry.key, 64), section.partition);
      values[entry.key] = entry.text;
    }
  }
  return values;
}

std::map<std::string, std::string> results(const Job& job, const std::vector<std::optional<std::string>>& values) {
  return results(job, map(job, values));
}

std::vector<std::string> bytes_of(const std::vector<ShuffleBlock::Section>& sections) {
  std::vector<std::string> all;
  for (const auto& section : sections) {
    all.push_back(std::to_string(section.partition.value()) + ":" + std::string(section.bytes.view()));
  }
  return all;
}

TEST(ClickThrough, what_a_later_level_changed_in_the_batch_before_is_no_change_of_this_one) {
  JobContext context;
  context.state_partitions = 1;
  const auto job = make_builtin_job("click_through", context);
  ASSERT_TRUE(job.has_value());
  const Mapped mapped = map(**job, {R"({"type":"impression","id":"7","ad":"shoes"})", R"({"type":"click","id":"7"})"});
  const auto table = (*job)->make_state_table();
  std::string_view bytes = mapped.sections.front().bytes.view();
  ASSERT_TRUE(table->apply({BatchId(1), 100, true, 0, 1}, std::span(&bytes, 1)));
  const auto emitted = table->take_emitted();
  ASSERT_THAT(emitted, SizeIs(1));
  bytes = emitted.front().bytes.view();
  ASSERT_TRUE(table->apply({BatchId(1), 100, true, 0, 2}, std::span(&bytes, 1)));
  EXPECT_TRUE(table->changed());
  EXPECT_EQ(table->read("shoes", BatchId(1)), "1");
  ASSERT_TRUE(table->apply({BatchId(2), 200, true, 0, 1}, {}));
  EXPECT_FALSE(table->changed());
  EXPECT_THAT(table->take_emitted(), IsEmpty());
}

TEST(WordCount, counts_the_words_of_a_few_records) {
  const auto job = make("word_count");
  EXPECT_THAT(results(*job, {"the cat", "the  dog\tthe\n", "", std::nullopt, "   "}),
              UnorderedElementsAre(Pair("the", "3"), Pair("cat", "1"), Pair("dog", "1")));
  EXPECT_EQ(job->tables().front().name, "counts");
  EXPECT_EQ(job->tables().front().rank, "top");
  EXPECT_FALSE(job->tables().front().rank_all);
  EXPECT_EQ(job->tables().front().rank_size, 1000);
}

TEST(WordCount, long_words_and_nul_bytes_are_words_like_others) {
  const std::string nul("a\0b", 3);
  const std::string fifteen(15, 'x'), sixteen(16, 'x'), huge(300'000, 'y');
  const std::string line = nul + " " + fifteen + " " + sixteen + " " + huge + " a " + sixteen + " " + huge;
  EXPECT_THAT(
      results(*make("word_count"), {line, nul}),
      UnorderedElementsAre(Pair(nul, "2"), Pair(fifteen, "1"), Pair(sixteen, "2"), Pair(huge, "2"), Pair("a", "1")));
}

TEST(WordCount, a_million_words_in_one_line_are_counted) {
  std::string line;
  for (int i = 0; i < 1'000'000; ++i) line += std::to_string(i % 5000) + " ";
  const auto job = make("word_count", {}, 64 << 20);
  const Mapped mapped = map(*job, {line});
  EXPECT_EQ(mapped.report.emitted, 1'000'000);
  const auto values = results(*job, mapped);
  EXPECT_THAT(values, SizeIs(5000));
  for (const auto& [word, count] : values) EXPECT_EQ(count, "200") << word;
}

TEST(WordCount, records_equal_those_processed_and_dead_letters) {
  const auto job = make("word_count", {}, 10);
  const Mapped mapped = map(*job, {"good one", "b\xff", "0123456789", "0123456789a", std::nullopt, ""});
  EXPECT_EQ(mapped.report.records, 6);
  EXPECT_EQ(mapped.report.dead_letters, 2);
  EXPECT_EQ(mapped.report.emitted, 3);
  ASSERT_THAT(mapped.report.letters, SizeIs(2));
  EXPECT_EQ(mapped.report.letters[0].offset, Offset(1));
  EXPECT_EQ(mapped.report.letters[0].timestamp_ms, 1002);
  EXPECT_EQ(mapped.report.letters[0].reason, "not valid UTF-8 at byte 1");
  EXPECT_EQ(mapped.report.letters[1].offset, Offset(3));
  EXPECT_EQ(mapped.report.letters[1].reason, "longer than 10 bytes");
}

TEST(WordCount, a_long_reason_is_cut_between_two_characters) {
  MapReport report;
  std::string reason(MapReport::kMaxReason - 4, 'a');
  report.add_dead_letter(Offset(1), 0, reason + "\u00e9\u00e9\u00e9");
  report.add_dead_letter(Offset(2), 0, reason + "b\u00e9\u00e9\u00e9");
  EXPECT_EQ(report.letters[0].reason, reason + "...");
  EXPECT_EQ(report.letters[1].reason, reason + "b...");
  report.add_dead_letter(Offset(3), 0, std::string(MapReport::kMaxReason, 'a'));
  EXPECT_EQ(report.letters[2].reason, std::string(MapReport::kMaxReason, 'a'));
}

TEST(WordCount, dead_letters_beyond_the_list_are_counted) {
  const auto job = make("word_count");
  const Mapped mapped = map(*job, std::vector<std::optional<std::string>>(1500, "\xff"));
  EXPECT_EQ(mapped.report.dead_letters, 1500);
  EXPECT_THAT(mapped.report.letters, SizeIs(MapReport::kMaxLetters));
  EXPECT_THAT(mapped.sections, IsEmpty());
}

TEST(WordCount, records_outside_the_range_are_not_mapped) {
  const auto job = make("word_count");
  const auto task = job->make_map_task();
  const std::string bytes = batch_of({"a", "b"}, 10) + batch_of({"c", "d", "e"}, 12) + batch_of({"f"}, 15);
  Mapped mapped;
  ASSERT_TRUE(task->map(LogPartition(0), range(13, 14), bytes, mapped.report));
  mapped.sections = task->finish();
  EXPECT_EQ(mapped.report.records, 1);
  EXPECT_THAT(results(*job, mapped), ElementsAre(Pair("d", "1")));
}

TEST(WordCount, bytes_that_are_no_record_batches_are_corrupt_and_leave_nothing) {
  const auto job = make("word_count");
  const auto task = job->make_map_task();
  std::string bytes = batch_of({"a b c"}) + batch_of({"d"}, 1);
  bytes.resize(bytes.size() - 3);
  MapReport report;
  const Status status = task->map(LogPartition(0), range(0, 2), bytes, report);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(task->finish(), IsEmpty());
}

TEST(WordCount, counts_a_field_of_json_objects) {
  const auto job = make("word_count", {{"field", "text"}});
  const Mapped mapped =
      map(*job, {R"({"text": "one two", "n": 1})", R"({"n": {"text": "no"}, "text": "one\ttab\u00e9"})",
                 R"({"text": "first", "text": "last"})", R"({"other": "x"})", R"({"text": 5})", R"(["text"])",
                 R"({"text": "x")", "plain", "", "{\"text\": \"\xff\"}"});
  EXPECT_THAT(results(*job, mapped),
              UnorderedElementsAre(Pair("one", "2"), Pair("two", "1"), Pair("tab\u00e9", "1"), Pair("last", "1")));
  EXPECT_EQ(mapped.report.dead_letters, 7);
  ASSERT_THAT(mapped.report.letters, SizeIs(7));
  EXPECT_EQ(mapped.report.letters[0].reason, "the JSON object has no field 'text'");
  EXPECT_EQ(mapped.report.letters[1].reason, "the JSON field 'text' holds no text");
  for (int i = 2; i < 6; ++i) EXPECT_THAT(mapped.report.letters[i].reason, HasSubstr("no JSON object")) << i;
  EXPECT_EQ(mapped.report.letters[6].reason, "not valid UTF-8 at byte 10");
}

TEST(WordCount, counts_what_people_would_call_words) {
  const auto job = make("word_count", {{"words", "unicode"}, {"min-length", "2"}, {"stop-words", "english,Cat"}});
  EXPECT_THAT(results(*job, {"The cat's École, the CAT; (x) a dog", "école dog!", "\xFF"}),
              UnorderedElementsAre(Pair("cat's", "1"), Pair("école", "2"), Pair("dog", "2")));
}

TEST(WordCount, a_count_stays_at_the_largest_value) {
  const auto job = make("word_count");
  const auto table = job->make_state_table();
  const auto section_of = [](uint64_t zigzag) {
    char varint[kMaxVarintBytes];
    const std::string number(varint, put_varint(varint, zigzag));
    const std::string piece = std::string("\x01\x01w", 3) + number;
    return std::string("\0", 1) + static_cast<char>(piece.size()) + piece;
  };
  const std::string section = section_of((static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) - 1) << 1);
  const std::string_view views[] = {section, section, section};
  ASSERT_TRUE(table->apply({BatchId(1)}, views));
  EXPECT_EQ(table->read("w", BatchId(1)), "9223372036854775807");
  const std::string of_another_edge = "\x01" + section.substr(1);
  const std::string_view view = of_another_edge;
  EXPECT_FALSE(table->apply({BatchId(2)}, std::span(&view, 1)));
}

TEST(Sections, depend_on_the_records_alone) {
  std::mt19937_64 random(9);
  std::vector<std::optional<std::string>> lines;
  for (int i = 0; i < 3000; ++i) {
    std::string line;
    for (int word = 0; word < 12; ++word) {
      line += std::to_string(random() % 20000);
      line += random() % 9 == 0 ? "-which-makes-it-a-long-word " : " ";
    }
    lines.emplace_back(line);
  }
  for (const char* type : {"word_count", "two_sum"}) {
    const auto job = make(type);
    const Mapped once = map(*job, lines);

    // The same records by another task, which has grown before, in other chunks.
    const auto task = job->make_map_task();
    MapReport ignored;
    std::vector<std::optional<std::string>> others;
    for (int i = 0; i < 50'000; ++i) others.emplace_back(std::to_string(i * 7));
    ASSERT_TRUE(task->map(LogPartition(7), range(0, 50'000), batch_of(others), ignored));
    EXPECT_FALSE(task->finish().empty());
    MapReport report;
    for (size_t from = 0; from < lines.size();) {
      const size_t size = std::min<size_t>(1 + random() % 300, lines.size() - from);
      const std::vector<std::optional<std::string>> chunk(lines.begin() + static_cast<ptrdiff_t>(from),
                                                          lines.begin() + static_cast<ptrdiff_t>(from + size));
      ASSERT_TRUE(task->map(LogPartition(0), range(0, 3000), batch_of(chunk, static_cast<int64_t>(from)), report));
      from += size;
    }
    EXPECT_EQ(report.emitted, once.report.emitted);
    EXPECT_EQ(bytes_of(task->finish()), bytes_of(once.sections));
    EXPECT_THAT(task->finish(), IsEmpty());
  }
}

TEST(Sections, ascend_by_partition_and_spread_over_all) {
  std::string line;
  for (int i = 0; i < 10'000; ++i) line += std::to_string(i) + " ";
  const Mapped mapped = map(*make("word_count"), {line});
  ASSERT_THAT(mapped.sections, SizeIs(64));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(mapped.sections[static_cast<size_t>(i)].partition, StatePartition(i));
}

TEST(PartitionHash, is_version_one_for_ever) {
  // The high half of XXH3-64 times the number of partitions: a change would lose the state of every job.
  EXPECT_EQ(state_partition_of("", 64), StatePartition(11));
  EXPECT_EQ(state_partition_of("the", 64), StatePartition(50));
  EXPECT_EQ(state_partition_of("a key that is longer than a slot", 1000), StatePartition(297));
}

TEST(TwoSum, sums_the_hash_of_each_place) {
  const auto job = make("two_sum");
  const uint64_t a = two_sum_hash(LogPartition(3), Offset(0), 0) + two_sum_hash(LogPartition(3), Offset(0), 2) +
                     two_sum_hash(LogPartition(3), Offset(1), 1);
  const uint64_t b = two_sum_hash(LogPartition(3), Offset(0), 1) + two_sum_hash(LogPartition(3), Offset(1), 0);
  EXPECT_THAT(results(*job, map(*job, {"a b a", " b  a"}, 3)),
              UnorderedElementsAre(Pair("a", "3 " + std::to_string(a)), Pair("b", "2 " + std::to_string(b))));
  EXPECT_EQ(job->tables().front().name, "sums");
  EXPECT_EQ(job->tables().front().rank, "");
  EXPECT_EQ(job->tables().front().rank_size, 0);
}

TEST(TwoSum, the_hash_is_the_one_that_is_documented) {
  // By the Python program of docs/two-sum.md.
  EXPECT_EQ(two_sum_hash(LogPartition(0), Offset(0), 0), 0U);
  EXPECT_EQ(two_sum_hash(LogPartition(1), Offset(2), 3), 13415167193062074755U);
  EXPECT_EQ(two_sum_hash(LogPartition(5), Offset(123456789012), 9), 8239335375920062690U);
}

TEST(Registry, names_the_types_and_settings_there_are) {
  const auto error_of = [](const std::string& type, std::map<std::string, std::string> settings) {
    JobContext context;
    context.settings = std::move(settings);
    const auto job = make_builtin_job(type, context);
    return job ? Error{} : job.error();
  };
  EXPECT_EQ(error_of("wordcount", {}).code, ErrorCode::kNotFound);
  EXPECT_THAT(error_of("wordcount", {}).message,
              HasSubstr("alarm, click_through, copy_lines, inverted_index, k_means, linear_regression, "
                        "network_word_count, recent_words, score, two_sum, user_counts, user_sessions, word_count"));
  EXPECT_EQ(error_of("word_count", {{"fields", "x"}}).code, ErrorCode::kInvalid);
  EXPECT_THAT(error_of("word_count", {{"fields", "x"}}).message, HasSubstr("no setting 'fields'"));
  EXPECT_THAT(error_of("word_count", {{"fields", "x"}}).message, HasSubstr("rank=top"));
  EXPECT_EQ(error_of("word_count", {{"rank", "some"}}).code, ErrorCode::kInvalid);
  EXPECT_THAT(error_of("word_count", {{"rank", "some"}}).message, HasSubstr("must be top or all, not 'some'"));
  EXPECT_THAT(error_of("word_count", {{"words", "unicode"}, {"min-length", "0"}}).message,
              HasSubstr("'min-length' must be a whole number from 1 to 1000, not '0'"));
  EXPECT_THAT(error_of("word_count", {{"stop-words", "a"}}).message, HasSubstr("go with words=unicode"));
  EXPECT_THAT(error_of("two_sum", {{"field", "x"}}).message, HasSubstr("its settings: none"));
  EXPECT_TRUE(make("word_count", {{"rank", "all"}})->tables().front().rank_all);
  JobContext other_hash;
  other_hash.partition_hash = 2;
  EXPECT_FALSE(make_builtin_job("word_count", other_hash));
}

// --- what they keep --------------------------------------------------------------------------------------------------

struct Visit {
  uint16_t count;
  std::vector<std::pair<std::string, double>> pages;
  MILLRACE_FIELDS(Visit, count, pages)
};
struct Opaque {};
struct Named {};

}  // namespace

template <>
struct Codec<Opaque> {};
template <>
struct Codec<Named> {
  static constexpr std::string_view kLayout = "one byte";
};

namespace {

TEST(Layout, says_what_the_bytes_of_a_value_are) {
  enum class Colour : uint8_t { kRed };
  EXPECT_EQ(layout_of<int64_t>(), "int64");
  EXPECT_EQ(layout_of<char>(), "int8");
  EXPECT_EQ(layout_of<Colour>(), "uint8");
  EXPECT_EQ(layout_of<Visit>(), "(uint16, [(text, float64)])");
  EXPECT_EQ((layout_of<std::map<std::string, std::optional<bool>>>()), "{text: bool?}");
  EXPECT_EQ((layout_of<std::tuple<>>()), "()");
  EXPECT_THAT(layout_of<Opaque>(), testing::EndsWith("Opaque"));
  EXPECT_EQ(layout_of<std::vector<Named>>(), "[one byte]");
}

TEST(Jobs, say_what_they_keep) {
  EXPECT_THAT(plan_of(*make("word_count")).states, ElementsAre(StatePlan{"count_by_value", "text -> int64", {}}));
  EXPECT_THAT(plan_of(*make("two_sum")).states,
              ElementsAre(testing::Field(&StatePlan::layout, "text -> (int64, uint64)")));
  const auto recent = plan_of(*make("recent_words", {{"window", "1m"}, {"slide", "10s"}})).states;
  EXPECT_THAT(recent, ElementsAre(testing::Field(&StatePlan::layout, "text -> panes of 10000 ms: int64")));
}

}  // namespace
}  // namespace millrace
