// What jobs append: lines by format, batches for a function, and what is refused.

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "millrace/job.h"
#include "millrace/testing.h"

namespace millrace {
namespace {

using Lines = std::vector<std::string>;

struct Order {
  std::string city;
  std::optional<int64_t> cents;
  MILLRACE_FIELDS(Order, city, cents)
};

// "CITY CENTS", or "CITY"
Order order_of(std::string_view line) {
  const size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return {std::string(line), std::nullopt};
  return {std::string(line.substr(0, blank)), std::stoll(std::string(line.substr(blank + 1)))};
}

MILLRACE_JOB(writes_orders, "the same in three formats, without a table") {
  const auto orders = job.lines().map(order_of).cache();
  orders.map([](const Order& order) { return std::pair(order.city, order.cents.value_or(0)); }).write("text");
  orders.write("json", json_lines);
  orders.map([](const Order& order) { return std::pair(order.city, order.cents.value_or(0)); })
      .write("pairs", json_lines);
  orders.write("csv", csv_lines);
}

TEST(Outputs, have_lines_of_three_formats_in_the_order_of_the_records) {
  testing::TestJob job(millrace_job_writes_orders);
  job.push("Ulm 250");
  job.push("say \"a,b\"", 1);  // no number: refused, in all outputs
  job.push("a,\"b\"");
  job.run_batch();
  job.push("Bonn 1");
  job.run_batch();
  EXPECT_EQ(job.lines("text"), (Lines{"Ulm\t250", "a,\"b\"\t0", "Bonn\t1"}));
  EXPECT_EQ(job.lines("json"), (Lines{R"({"city":"Ulm","cents":250})", R"({"city":"a,\"b\"","cents":null})",
                                      R"({"city":"Bonn","cents":1})"}));
  EXPECT_EQ(job.lines("pairs"),
            (Lines{R"({"key":"Ulm","value":250})", R"({"key":"a,\"b\"","value":0})", R"({"key":"Bonn","value":1})"}));
  EXPECT_EQ(job.lines("csv"), (Lines{"Ulm,250", "\"a,\"\"b\"\"\",", "Bonn,1"}));
  EXPECT_EQ(job.dead_letters().size(), 1u);
  EXPECT_TRUE(job.table().empty());
}

MILLRACE_JOB(writes_changes, "what changes in counts, in parts by the word") {
  job.lines()
      .flat_map(split_words)
      .count_by_value()
      .publish("counts")
      .changes()
      .write("changes", json_lines, {.parts = 3});
}

TEST(Outputs, stand_behind_a_shuffle_too_and_are_the_same_when_run_again) {
  testing::TestJob job(millrace_job_writes_changes);
  job.push("a b a");
  job.run_batch();
  job.checkpoint();
  job.push("b c");
  job.run_batch();
  job.crash();
  Lines lines = job.lines("changes");
  std::ranges::sort(lines);
  EXPECT_EQ(lines, (Lines{R"({"key":"a","before":null,"after":2})", R"({"key":"b","before":1,"after":2})",
                          R"({"key":"b","before":null,"after":1})", R"({"key":"c","before":null,"after":1})"}));
}

using Calls = std::map<int64_t, std::vector<std::pair<std::string, int64_t>>>;

Calls& calls() {
  static Calls calls;
  return calls;
}

MILLRACE_JOB(calls_for_batches, "words and their lengths, batch by batch") {
  job.lines()
      .flat_map(split_words)
      .map([](std::string_view word) { return std::pair(word, static_cast<int64_t>(word.size())); })
      .for_each_batch("mine", [](const BatchOfOutput& of, std::span<const std::pair<std::string, int64_t>> values) {
        if (values.front().first == "throw") throw std::runtime_error("no such table");
        calls()[of.batch].assign(values.begin(), values.end());
      });
}

TEST(Outputs, give_batches_to_a_function_again_after_a_crash) {
  calls().clear();
  testing::TestJob job(millrace_job_calls_for_batches);
  job.push("a bb");
  job.run_batch();
  job.run_batch();
  job.push("ccc");
  job.run_batch();
  const Calls before = calls();
  EXPECT_EQ(before, (Calls{{1, {{"a", 1}, {"bb", 2}}}, {3, {{"ccc", 3}}}}));
  calls().clear();
  job.crash();
  EXPECT_EQ(calls(), before);
  job.push("throw");
  EXPECT_THROW(job.run_batch(), std::logic_error);
}

void expect_refused(void (*define)(JobBuilder&), const std::string& part) {
  const JobDefinition definition{"refused", "", define};
  const auto job = make_job(definition, JobContext{.state_partitions = 2});
  ASSERT_FALSE(job.has_value());
  EXPECT_NE(job.error().message.find(part), std::string::npos) << job.error();
}

TEST(Outputs, are_refused_where_they_are_none) {
  expect_refused([](JobBuilder& job) { (void)job.lines(); }, "publishes and writes nothing");
  expect_refused([](JobBuilder& job) { job.lines().write("a/b"); }, "an output's name must be");
  expect_refused(
      [](JobBuilder& job) {
        job.lines().write("a");
        job.lines().write("a");
      },
      "two outputs are named 'a'");
  expect_refused([](JobBuilder& job) { job.lines().write("a", text_lines, {.parts = 3}); }, "--state-partitions");
  expect_refused([](JobBuilder& job) { job.lines().write("a", text_lines, {.parts = 0}); }, "there can be 1 to 256");
}

}  // namespace
}  // namespace millrace
