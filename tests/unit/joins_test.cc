// Joins against plain code that keeps all input, through skipped and early batches, checkpoints and crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>

#include "job_model.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;
using millrace::testing::TestJob;
using ::testing::HasSubstr;

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
auto by_sides(int64_t length_ms, int64_t slide_ms, const Show& show) {
  return millrace::in_windows(length_ms, slide_ms, [show](const std::vector<std::string>& lines) {
    std::map<std::string, Sides> keys;
    for (const std::string& line : lines) {
      for (const std::string& word : words_of(line)) {
        if (is_left(word)) keys[word.substr(0, 2)].left.push_back(word);
        if (is_right(word)) keys[word.substr(0, 2)].right.push_back(number_of(word));
      }
    }
    ModelTable table;
    for (const auto& [key, sides] : keys) {
      if (auto text = show(sides)) table[key] = *text;
    }
    return table;
  });
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
    expect_model({"windows", "", define}, options, by_sides(length_ms, slide_ms, show));
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
  EXPECT_THAT(message, HasSubstr("a window of 1s that slides by 500ms and a window of 1s that slides by 1s "
                                 "cannot be joined; make both the same"));
}

// --- a time to live ----------------------------------------------------------------------------------------------

constexpr int64_t kTimeToLiveMs = 300;

// By whether the last letter of the key is even, all that was joined in its order.
void log_joined(const auto& stream) {
  stream
      .map([](const auto& joined) {
        const auto& [key, sides] = joined;
        return std::pair(std::string(key.back() % 2 == 0 ? "even" : "odd"),
                         text_of(std::tuple(key, sides.first, sides.second)));
      })
      .template combine_by_key<std::string>([](const std::string& first) { return first; },
                                            [](std::string& all, const std::string& next) { all += next; }, "log")
      .publish("log");
}

// Plain code for all of them, a key's values one by one; of a line first those of the left side.
auto in_time(bool keeps_left, bool keeps_right) {
  struct Entry {
    int64_t time_ms;
    std::string text;
    bool matched = false;
  };
  struct Key {
    std::vector<Entry> left, right;
  };
  return [=] {
    return [=, keys = std::map<std::string, Key>(), log = ModelTable()](const ModelBatch& batch) mutable {
      std::map<std::string, std::string> joined;
      const auto join = [&](const std::string& key, const std::string& left, const std::string& right) {
        joined[key] += "[\"" + key + "\"," + left + "," + right + "]";
      };
      const auto in_reach = [&](const Entry& entry) { return entry.time_ms >= batch.time_ms - kTimeToLiveMs; };
      for (const std::string& line : batch.lines) {
        for (const std::string& word : words_of(line)) {
          if (!is_left(word)) continue;
          const std::string name = word.substr(0, 2);
          Entry comes{batch.time_ms, quoted(word)};
          for (Entry& entry : keys[name].right) {
            if (!in_reach(entry)) continue;
            comes.matched = entry.matched = true;
            join(name, comes.text, entry.text);
          }
          keys[name].left.push_back(comes);
        }
        for (const std::string& word : words_of(line)) {
          if (!is_right(word)) continue;
          const std::string name = word.substr(0, 2);
          Entry comes{batch.time_ms, plain(number_of(word))};
          for (Entry& entry : keys[name].left) {
            if (!in_reach(entry)) continue;
            comes.matched = entry.matched = true;
            join(name, entry.text, comes.text);
          }
          keys[name].right.push_back(comes);
        }
      }
      for (auto& [name, key] : keys) {
        if (!batch.tick) break;
        const auto over = [&](const Entry& entry) { return entry.time_ms + kTimeToLiveMs <= batch.time_ms; };
        for (const Entry& entry : key.left) {
          if (over(entry) && keeps_left && !entry.matched) join(name, entry.text, "null");
        }
        for (const Entry& entry : key.right) {
          if (over(entry) && keeps_right && !entry.matched) join(name, "null", entry.text);
        }
        std::erase_if(key.left, over);
        std::erase_if(key.right, over);
      }
      std::map<std::pair<int32_t, std::string>, std::string> in_order;
      for (const auto& [name, text] : joined) {
        in_order[{state_partition_of(name, batch.state_partitions).value(), name}] = text;
      }
      for (const auto& [place, text] : in_order) log[place.second.back() % 2 == 0 ? "even" : "odd"] += text;
      return log;
    };
  };
}

void expect_in_time(void (*define)(JobBuilder&), bool keeps_left, bool keeps_right) {
  const ModelOptions options{.needs_time = true, .batches = 40, .most_words = 4, .distinct = 100, .most_lines = 5};
  expect_model({"joins", "", define}, options, in_time(keeps_left, keeps_right));
}

const JoinOptions kInTime{.name = "", .time_to_live = std::chrono::milliseconds(kTimeToLiveMs)};

TEST(Joins, pair_what_came_within_a_time_to_live_once) {
  expect_in_time(
      [](JobBuilder& job) {
        const auto all = words(job);
        log_joined(lefts(all).join(rights(all), kInTime));
      },
      false, false);
}

TEST(Joins, left_outer_join_gives_what_found_no_partner_on_the_right_in_its_time) {
  expect_in_time(
      [](JobBuilder& job) {
        const auto all = words(job);
        log_joined(lefts(all).left_outer_join(rights(all), kInTime));
      },
      true, false);
}

TEST(Joins, right_outer_join_gives_what_found_no_partner_on_the_left_in_its_time) {
  expect_in_time(
      [](JobBuilder& job) {
        const auto all = words(job);
        log_joined(lefts(all).right_outer_join(rights(all), kInTime));
      },
      false, true);
}

TEST(Joins, full_outer_join_gives_all) {
  expect_in_time(
      [](JobBuilder& job) {
        const auto all = words(job);
        log_joined(lefts(all).full_outer_join(rights(all), kInTime));
      },
      true, true);
}

TEST(Joins, a_time_to_live_that_is_none_is_refused) {
  const auto message = error_of([](JobBuilder& job) {
    const auto all = words(job);
    log_joined(lefts(all).join(rights(all), {}));
  });
  EXPECT_THAT(message, HasSubstr("a time to live of 0ms is none"));
}

}  // namespace
}  // namespace millrace
