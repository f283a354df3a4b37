// Windows against plain code that keeps all input, through skipped and early batches, checkpoints and crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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

template <typename State>
ModelTable fold_words(const std::vector<std::string>& lines, size_t key_size,
                      const std::function<void(State&, bool fresh, const std::string& word)>& fold) {
  std::map<std::string, State> states;
  for (const std::string& line : lines) {
    for (const std::string& word : words_of(line)) {
      const std::string key = word.substr(0, key_size);
      const bool fresh = !states.contains(key);
      fold(states[key], fresh, word);
    }
  }
  ModelTable table;
  for (const auto& [key, state] : states) table[key] = text_of(state);
  return table;
}

// (first two letters, word)
auto words_by_beginning(const JobBuilder& job) {
  return job.lines()
      .flat_map([](std::string_view line) { return words_of(std::string(line)); })
      .key_by([](const std::string& word) { return word.substr(0, 2); });
}

struct Size {
  int64_t length_ms;
  int64_t slide_ms;
};
auto windowed(JobBuilder& job, const auto& stream) {
  return stream.window(job.duration("length", "100ms", ""), job.duration("slide", "100ms", ""));
}
std::map<std::string, std::string> settings_of(const Size& size) {
  return {{"length", std::to_string(size.length_ms) + "ms"}, {"slide", std::to_string(size.slide_ms) + "ms"}};
}

class Windows : public ::testing::TestWithParam<Size> {
 protected:
  // Sparse words, so that keys come and go; gaps longer than the windows.
  static void expect(void (*define)(JobBuilder&), const ShowWindow& show, int distinct = 40) {
    const ModelOptions options{.needs_time = true,
                               .batches = 60,
                               .distinct = distinct,
                               .most_lines = 6,
                               .most_skipped = 20,
                               .settings = settings_of(GetParam())};
    expect_model({"windows", "", define}, options, in_windows(GetParam().length_ms, GetParam().slide_ms, show));
  }
};
// Tumbling, sliding, with panes shorter than both, one batch long, with gaps between windows.
INSTANTIATE_TEST_SUITE_P(Sizes, Windows,
                         ::testing::Values(Size{400, 400}, Size{300, 100}, Size{500, 200}, Size{100, 100},
                                           Size{200, 500}, Size{1500, 300}),
                         [](const auto& size) {
                           return std::to_string(size.param.length_ms) + "_by_" + std::to_string(size.param.slide_ms);
                         });

TEST_P(Windows, count_by_value) {
  expect([](JobBuilder& job) { windowed(job, job.lines().flat_map(split_words)).count_by_value().publish("counts"); },
         [](const auto& lines) {
           return fold_words<int64_t>(lines, 100, [](int64_t& count, bool, const std::string&) { ++count; });
         });
}

TEST_P(Windows, distinct) {
  expect([](JobBuilder& job) { windowed(job, job.lines().flat_map(split_words)).distinct().publish("words"); },
         [](const auto& lines) {
           return fold_words<int64_t>(lines, 100, [](int64_t& one, bool, const std::string&) { one = 1; });
         });
}

TEST_P(Windows, reduce_by_key_without_an_inverse) {
  expect(
      [](JobBuilder& job) {
        windowed(job, words_by_beginning(job).map(
                          [](const auto& pair) { return std::pair(pair.first, pair.second.size()); }))
            .reduce_by_key([](size_t a, size_t b) { return std::max(a, b); }, "longest")
            .publish("longest");
      },
      [](const auto& lines) {
        return fold_words<size_t>(
            lines, 2, [](size_t& longest, bool, const std::string& word) { longest = std::max(longest, word.size()); });
      },
      400);
}

TEST_P(Windows, reduce_by_key_with_an_inverse) {
  expect(
      [](JobBuilder& job) {
        windowed(job, words_by_beginning(job).map(
                          [](const auto& pair) { return std::pair(pair.first, pair.second.size()); }))
            .reduce_by_key(std::plus<size_t>(), std::minus<size_t>())
            .publish("sums");
      },
      [](const auto& lines) {
        return fold_words<size_t>(lines, 2, [](size_t& sum, bool, const std::string& word) { sum += word.size(); });
      },
      400);
}

TEST_P(Windows, reduce_by_key_of_values_on_the_heap) {
  expect(
      [](JobBuilder& job) {
        windowed(job, words_by_beginning(job))
            .reduce_by_key([](std::string& least, const std::string& word) { least = std::min(least, word); })
            .publish("least");
      },
      [](const auto& lines) {
        return fold_words<std::string>(lines, 2, [](std::string& least, bool fresh, const std::string& word) {
          least = fresh ? word : std::min(least, word);
        });
      },
      400);
}

TEST_P(Windows, group_by_key) {
  expect([](JobBuilder& job) { windowed(job, words_by_beginning(job)).group_by_key().publish("groups"); },
         [](const auto& lines) {
           return fold_words<std::vector<std::string>>(
               lines, 2, [](auto& words, bool, const std::string& word) { words.push_back(word); });
         },
         400);
}

TEST_P(Windows, reduce) {
  expect(
      [](JobBuilder& job) {
        windowed(job, job.lines().map([](std::string_view line) { return line.size(); }))
            .reduce([](size_t a, size_t b) { return std::max(a, b); })
            .publish("longest");
      },
      [](const auto& lines) {
        size_t longest = 0;
        for (const std::string& line : lines) longest = std::max(longest, line.size());
        return lines.empty() ? ModelTable() : ModelTable{{"all", std::to_string(longest)}};
      });
}

TEST_P(Windows, count_stays_with_zero) {
  const auto model = [] {
    std::vector<int64_t> times;
    int64_t evaluated_ms = 0;
    ModelTable table;
    return [=, size = GetParam()](const ModelBatch& batch) mutable {
      times.insert(times.end(), batch.lines.size(), batch.time_ms);
      const int64_t window_ms = batch.time_ms / size.slide_ms * size.slide_ms;
      if (batch.tick && window_ms > evaluated_ms) {
        evaluated_ms = window_ms;
        const auto until = [&](int64_t end_ms) {
          return std::ranges::count_if(times, [&](int64_t time_ms) { return time_ms <= end_ms; });
        };
        if (until(window_ms) != 0) {
          table["all"] = std::to_string(until(window_ms) - until(window_ms - size.length_ms));
        }
      }
      return table;
    };
  };
  const auto define = [](JobBuilder& job) { windowed(job, job.lines()).count().publish("lines"); };
  expect_model(
      {"windows", "", define},
      {.needs_time = true, .batches = 60, .most_lines = 3, .most_skipped = 20, .settings = settings_of(GetParam())},
      model);
}

MILLRACE_TEST_JOB(counts_each_batch) {
  job.lines().flat_map(split_words).each_batch().count_by_value().publish("counts").rank("top", 2);
}
TEST(EachBatch, shows_what_the_newest_batch_brought) {
  TestJob job(counts_each_batch);
  job.push("a b a c");
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("a", "2"), Pair("b", "1"), Pair("c", "1")));
  EXPECT_THAT(job.top(2), ElementsAre(Pair("a", "2"), Pair("b", "1")));
  job.push("c");
  job.run_early_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("a", "2"), Pair("b", "1"), Pair("c", "1")));
  job.push("b c");
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("b", "1"), Pair("c", "2")));
  EXPECT_THAT(job.top(2), ElementsAre(Pair("c", "2"), Pair("b", "1")));
  job.crash();
  EXPECT_THAT(job.top(2), ElementsAre(Pair("c", "2"), Pair("b", "1")));
  job.run_batch();
  EXPECT_THAT(job.table(), IsEmpty());
  EXPECT_THAT(job.top(2), IsEmpty());
}

TEST(Windowed, sizes_that_do_not_fit_the_batches_are_refused) {
  const auto error_of = [](void (*define)(JobBuilder&), int64_t interval_us = 200'000) {
    JobContext context;
    context.batch_interval_us = interval_us;
    const auto refused = make_job({"test", "", define}, context);
    return refused ? "" : refused.error().message;
  };
  EXPECT_EQ(error_of([](JobBuilder& job) { job.lines().window(1s, 400ms).count().publish("a"); }), "");
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().window(1s, 300ms).count().publish("a"); }),
              HasSubstr("a window of 1s that slides by 300ms does not fit batches of 200ms"));
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().window(500ms).count().publish("a"); }),
              HasSubstr("does not fit batches of 200ms"));
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().window(1s, 0s).count().publish("a"); }), HasSubstr("is none"));
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().window(-1s, 1s).count().publish("a"); }),
              HasSubstr("is none"));
  EXPECT_EQ(error_of([](JobBuilder& job) { job.lines().each_batch().count().publish("a"); }), "");
  EXPECT_THAT(error_of([](JobBuilder& job) { job.lines().each_batch().count().publish("a"); }, 1500),
              HasSubstr("whole milliseconds"));
}

// --- the table alone ---------------------------------------------------------------------------------------------

using Kind = internal::InverseWindow<int64_t, internal::WrappingSum, internal::WrappingDifference, false>;
using Table = internal::WindowTable<Kind>;
constexpr internal::WindowSize kThreeSeconds{3000, 1000};

std::string section_of(const std::vector<std::string>& keys) {
  char varint[kMaxVarintBytes];
  const auto number = [&](uint64_t value) { return std::string(varint, put_varint(varint, value)); };
  std::string bytes = number(keys.size());
  for (const std::string& key : keys) {
    bytes += number(key.size()) + key;
    bytes.append(varint, Codec<int64_t>::encode(varint, 1));
  }
  return bytes;
}

void apply(StateTable& table, int64_t batch, const std::vector<std::string>& keys) {
  const std::string section = section_of(keys);
  const std::string_view view = section;
  ASSERT_TRUE(table.apply({BatchId(batch), batch * 1000, true}, std::span(&view, keys.empty() ? 0 : 1)));
}

// "END KEY", with a minus in front where it is removed
std::set<std::string> frozen(StateTable& table, StateRun* keep = nullptr) {
  StateRun run;
  table.freeze(StatePartition(0), run);
  std::set<std::string> entries;
  for (size_t i = 0; i < run.size(); ++i) {
    int64_t end_ms = 0;
    std::string_view key;
    EXPECT_TRUE(internal::take_pane_key(run[i].key, end_ms, key));
    EXPECT_TRUE(entries.insert((run[i].removed ? "-" : "") + std::to_string(end_ms) + " " + std::string(key)).second);
  }
  if (keep != nullptr) *keep = std::move(run);
  return entries;
}

TEST(WindowTable, removals_are_written_of_panes_that_were_written_and_an_abandoned_freeze_loses_nothing) {
  Table table(0, kThreeSeconds, {});
  apply(table, 1, {"a", "b"});
  EXPECT_EQ(frozen(table), (std::set<std::string>{"1000 a", "1000 b"}));
  table.settle_freeze(false);
  EXPECT_EQ(frozen(table), (std::set<std::string>{"1000 a", "1000 b"}));
  table.settle_freeze(true);
  apply(table, 2, {"a"});
  apply(table, 3, {"c"});
  EXPECT_EQ(frozen(table), (std::set<std::string>{"2000 a", "3000 c"}));
  apply(table, 4, {"d"});  // a and b of 1 s go while the freeze is open
  apply(table, 7, {"d"});  // and all that the open freeze holds, and d of 4 s, which no freeze has seen
  table.settle_freeze(false);
  EXPECT_EQ(frozen(table), (std::set<std::string>{"-1000 a", "-1000 b", "-2000 a", "-3000 c", "7000 d"}));
  table.settle_freeze(false);
  EXPECT_EQ(frozen(table), (std::set<std::string>{"-1000 a", "-1000 b", "-2000 a", "-3000 c", "7000 d"}));
  table.settle_freeze(true);
  EXPECT_THAT(frozen(table), IsEmpty());
}

TEST(WindowTable, a_key_that_takes_the_place_of_another_is_written_once_and_by_its_name) {
  Table table(0, kThreeSeconds, {});
  apply(table, 1, {"a"});
  apply(table, 5, {"b"});
  apply(table, 9, {"c", "d", "b"});
  EXPECT_EQ(frozen(table), (std::set<std::string>{"9000 b", "9000 c", "9000 d"}));
}

TEST(WindowTable, older_windows_are_read_until_they_are_forgotten) {
  Table table(0, kThreeSeconds, {});
  for (int64_t batch = 1; batch <= 300; ++batch) {
    std::vector<std::string> keys{"always"};
    for (int i = 0; i < 20; ++i) keys.push_back("at " + std::to_string(batch) + " " + std::to_string(i));
    apply(table, batch, keys);
    if (batch > 10) table.forget_undo(BatchId(batch - 10));
    for (int64_t at = std::max<int64_t>(1, batch - 10); at <= batch; ++at) {
      ASSERT_EQ(table.read("always", BatchId(at)), std::to_string(std::min<int64_t>(at, 3)));
      ASSERT_EQ(table.read("at " + std::to_string(at) + " 7", BatchId(at)), "1");
      ASSERT_EQ(table.read("at " + std::to_string(at - 3) + " 7", BatchId(at)), std::nullopt);
    }
    ASSERT_EQ(table.keys(), 1 + 20 * std::min<int64_t>(batch, 3));
  }
}

TEST(WindowTable, an_idle_window_comes_to_rest) {
  Table table(0, kThreeSeconds, {});
  apply(table, 1, {"a"});
  EXPECT_TRUE(table.changed());
  apply(table, 2, {});
  EXPECT_FALSE(table.changed());
  apply(table, 4, {});
  EXPECT_TRUE(table.changed());
  EXPECT_EQ(table.keys(), 0);
  apply(table, 5, {});
  EXPECT_FALSE(table.changed());
}

TEST(WindowTable, a_checkpoint_that_does_not_parse_is_corrupt) {
  Table table(0, kThreeSeconds, {});
  apply(table, 1, {"a"});
  StateRun run;
  frozen(table, &run);
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"short", "\x02"},
                                                        {std::string(run[0].key), ""},
                                                        {std::string(run[0].key), "\x02\x02"},
                                                        {std::string(8, '\xff') + "a", "\x02"}}) {
    Table other(0, kThreeSeconds, {});
    const Status status = other.restore({StatePartition(0), key, value, false}, false);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
  }
}

}  // namespace
}  // namespace millrace
