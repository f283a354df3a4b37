// Joins against plain code that keeps all input, through skipped and early batches, checkpoints and crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <sstream>

#include "job_model.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;
using millrace::testing::TestJob;
using ::testing::HasSubstr;

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::string>(stream), {}};
}

// By its last digit a word is of the left side, of the right one, or of none. Its key are its first two letters.
bool is_left(const std::string& word) {
  return word.back() <= '4';
}
bool is_right(const std::string& word) {
  return word.back() >= '4' && word.back() <= '8';
}
int64_t number_of(const std::string& word) {
  return word.back() - '0';
}

auto words(const JobBuilder& job) {
  return job.lines().flat_map([](std::string_view line) { return words_of(std::string(line)); }).cache();
}
// (key, word)
auto lefts(const auto& words) {
  return words.filter(is_left).key_by([](const std::string& word) { return word.substr(0, 2); });
}
// (key, number)
auto rights(const auto& words) {
  return words.filter(is_right).map(
      [](const std::string& word) { return std::pair(word.substr(0, 2), number_of(word)); });
}

struct Named {
  std::string name;
  [[nodiscard]] std::string text() const { return name; }
};
TEST(Text, of_composites_is_json_and_of_all_else_it_is_bare) {
  EXPECT_EQ(text_of(std::string("a \"b\"")), "a \"b\"");
  EXPECT_EQ(text_of(Named{"n"}), "n");
  EXPECT_EQ(text_of(true), "true");
  EXPECT_EQ(text_of(-0.5), "-0.5");
  const std::string bytes("q\" s\\ n\n c\x01 \xc3\xa4 \xff z\0", 19);
  EXPECT_EQ(text_of(std::pair(std::string_view(bytes), uint64_t{7})),
            "[\"q\\\" s\\\\ n\\n c\\u0001 \xc3\xa4 \xEF\xBF\xBD z\\u0000\",7]");
  const std::vector<std::optional<Named>> names{Named{"x"}, std::nullopt};
  EXPECT_EQ(text_of(std::tuple(names, std::vector<bool>{true, false}, 1e300 * 1e300)),
            "[[\"x\",null],[true,false],\"inf\"]");
  EXPECT_EQ(text_of(std::optional<std::string>()), "null");
  EXPECT_EQ(text_of(std::vector<int>()), "[]");
}

// --- windows -----------------------------------------------------------------------------------------------------

struct Sides {
  std::vector<std::string> left;
  std::vector<int64_t> right;
};
// The texts of the keys that are shown.
using Show = std::function<std::optional<std::string>(const Sides&)>;

// Plain code for all of them: what the newest window holds, by key and side.
auto in_windows(int64_t length_ms, int64_t slide_ms, const Show& show) {
  return [=] {
    struct Seen {
      std::vector<std::pair<int64_t, std::string>> words;
      int64_t evaluated_ms = 0;
      ModelTable table;
    };
    return [=, seen = Seen()](const ModelBatch& batch) mutable {
      for (const std::string& line : batch.lines) {
        for (const std::string& word : words_of(line)) seen.words.emplace_back(batch.time_ms, word);
      }
      const int64_t window_ms = batch.time_ms / slide_ms * slide_ms;
      if (!batch.tick || window_ms <= seen.evaluated_ms) return seen.table;
      seen.evaluated_ms = window_ms;
      std::map<std::string, Sides> keys;
      for (const auto& [time_ms, word] : seen.words) {
        if (time_ms <= window_ms - length_ms || time_ms > window_ms) continue;
        if (is_left(word)) keys[word.substr(0, 2)].left.push_back(word);
        if (is_right(word)) keys[word.substr(0, 2)].right.push_back(number_of(word));
      }
      seen.table.clear();
      for (const auto& [key, sides] : keys) {
        if (auto text = show(sides)) seen.table[key] = *text;
      }
      return seen.table;
    };
  };
}

template <typename T>
std::string listed(const std::vector<T>& values, const std::function<std::string(const T&)>& text) {
  std::string list;
  for (const T& value : values) list += (list.empty() ? "" : ",") + text(value);
  return "[" + list + "]";
}
std::string quoted(const std::string& text) {
  return '"' + text + '"';
}
std::string plain(const int64_t& number) {
  return std::to_string(number);
}
// As JSON; `left` and `right`: a side may lack, unless both do.
Show pairs(bool left, bool right) {
  return [=](const Sides& sides) -> std::optional<std::string> {
    if ((sides.left.empty() && !left) || (sides.right.empty() && !right)) return std::nullopt;
    if (sides.left.empty() && sides.right.empty()) return std::nullopt;
    std::vector<std::string> texts;
    for (const std::string& word : sides.left) {
      for (const int64_t number : sides.right) texts.push_back("[" + quoted(word) + "," + plain(number) + "]");
      if (sides.right.empty()) texts.push_back("[" + quoted(word) + ",null]");
    }
    if (sides.left.empty()) {
      for (const int64_t number : sides.right) texts.push_back("[null," + plain(number) + "]");
    }
    return listed<std::string>(texts, [](const std::string& text) { return text; });
  };
}

auto windowed(JobBuilder& job) {
  const auto length = job.duration("length", "100ms", "");
  const auto slide = job.duration("slide", "100ms", "");
  const auto all = words(job);
  return std::pair(lefts(all).window(length, slide), rights(all).window(length, slide));
}

void expect_windows(void (*define)(JobBuilder&), const Show& show) {
  for (const auto& [length_ms, slide_ms] : {std::pair(300, 100), std::pair(400, 400), std::pair(500, 200)}) {
    const ModelOptions options{
        .needs_time = true,
        .batches = 30,
        .most_words = 4,
        .distinct = 100,
        .most_lines = 6,
        .most_skipped = 12,
        .settings = {{"length", std::to_string(length_ms) + "ms"}, {"slide", std::to_string(slide_ms) + "ms"}}};
    expect_model({"windows", "", define}, options, in_windows(length_ms, slide_ms, show));
  }
}

TEST(WindowedJoins, cogroup_has_the_values_of_both_streams_in_their_order) {
  expect_windows(
      [](JobBuilder& job) {
        const auto [left, right] = windowed(job);
        left.cogroup(right).publish("both");
      },
      [](const Sides& sides) -> std::optional<std::string> {
        if (sides.left.empty() && sides.right.empty()) return std::nullopt;
        return "[" + listed<std::string>(sides.left, quoted) + "," + listed<int64_t>(sides.right, plain) + "]";
      });
}

TEST(WindowedJoins, join_pairs_each_with_each) {
  expect_windows(
      [](JobBuilder& job) {
        const auto [left, right] = windowed(job);
        left.join(right).publish("pairs");
      },
      pairs(false, false));
}

TEST(WindowedJoins, left_outer_join_keeps_what_has_no_partner_on_the_right) {
  expect_windows(
      [](JobBuilder& job) {
        const auto [left, right] = windowed(job);
        left.left_outer_join(right).publish("pairs");
      },
      pairs(false, true));
}

TEST(WindowedJoins, right_outer_join_keeps_what_has_no_partner_on_the_left) {
  expect_windows(
      [](JobBuilder& job) {
        const auto [left, right] = windowed(job);
        left.right_outer_join(right).publish("pairs");
      },
      pairs(true, false));
}

TEST(WindowedJoins, full_outer_join_keeps_all) {
  expect_windows(
      [](JobBuilder& job) {
        const auto [left, right] = windowed(job);
        left.full_outer_join(right).publish("pairs");
      },
      pairs(true, true));
}

std::string error_of(void (*define)(JobBuilder&)) {
  const auto refused = make_job({"test", "", define}, {});
  return refused ? "" : refused.error().message;
}

TEST(WindowedJoins, windows_that_differ_are_refused) {
  const auto message = error_of([](JobBuilder& job) {
    const auto all = words(job);
    lefts(all).window(1s, 500ms).join(rights(all).window(1s)).publish("a");
  });
  EXPECT_THAT(message, HasSubstr("a window of 1000 ms that slides by 500 ms and a window of 1000 ms that slides by "
                                 "1000 ms cannot be joined; make both the same"));
}

}  // namespace
}  // namespace millrace
