// A whole cluster in one process, threads and all, as `millrace run` uses it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "local/local_run.h"
#include "tests/conformance/temporary_directory.h"

namespace millrace {
namespace {

using client::LocalRun;
using client::LocalRunSpec;
using client::LocalRunState;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

LocalRunSpec spec_of(const std::string& type) {
  LocalRunSpec spec;
  spec.request.name = "test";
  spec.request.type = type;
  spec.request.sink = "none:";
  spec.request.batch_interval_ms = 5;
  spec.request.checkpoint_interval_ms = 20;
  spec.lanes = 2;
  return spec;
}

void append(LocalRun& run, const std::vector<std::string_view>& lines) {
  EXPECT_TRUE(run.append(lines));
}

template <typename Condition>
LocalRunState wait_until(LocalRun& run, Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  LocalRunState state = run.state("", 3);
  while (!condition(state) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    state = run.state("", 3);
  }
  EXPECT_TRUE(condition(state)) << state.records << " records, " << state.failure << state.problem;
  return state;
}

std::vector<std::pair<std::string, std::string>> end(LocalRun& run) {
  run.end();
  std::vector<std::pair<std::string, std::string>> values;
  run.for_each_value("", [&](const std::string& key, const std::string& value) { values.emplace_back(key, value); });
  return values;
}

TEST(LocalRunTest, CountsWhatIsAppendedFromAnotherThreadAcrossManyCheckpoints) {
  auto run = start_local_run(spec_of("word_count"));
  ASSERT_TRUE(run) << run.error();
  constexpr int kAppends = 400;
  std::thread input([&run] {
    for (int i = 0; i < kAppends; ++i) append(**run, {"b a", "a", "c a"});
    (*run)->end_input();
  });
  const LocalRunState state = wait_until(**run, [](const auto& now) { return now.finished; });
  input.join();
  EXPECT_EQ(state.records, 3 * kAppends);
  EXPECT_TRUE(state.has_rank);
  EXPECT_THAT(state.top, ElementsAre(Pair("a", "1200"), Pair("b", "400"), Pair("c", "400")));
  EXPECT_THAT(end(**run), ElementsAre(Pair("a", "1200"), Pair("b", "400"), Pair("c", "400")));
}

TEST(LocalRunTest, MayEndInTheMiddleAndLetsTheInputGo) {
  auto run = start_local_run(spec_of("word_count"));
  ASSERT_TRUE(run) << run.error();
  std::thread input([&run] {
    const std::string line(1 << 20, 'x');
    const std::vector<std::string_view> lines(8, line);
    while ((*run)->append(lines)) {
    }
  });
  wait_until(**run, [](const auto& now) { return now.records > 0; });
  (*run)->refuse_input();
  input.join();
  EXPECT_THAT(end(**run), testing::SizeIs(1));
}

TEST(LocalRunTest, SaysWhatItCouldNotCountAndInWhichLines) {
  auto run = start_local_run(spec_of("word_count"));
  ASSERT_TRUE(run) << run.error();
  append(**run, {"good", "\xff"});
  append(**run, {"good"});
  append(**run, {"\xfe", "good"});
  (*run)->end_input();
  EXPECT_EQ(wait_until(**run, [](const auto& now) { return now.finished; }).dead_letters, 2);
  std::vector<std::string> places;
  for (const client::BadRecord& bad : (*run)->bad_records(10)) places.push_back(bad.place);
  EXPECT_THAT(places, testing::UnorderedElementsAre("line 2", "line 4"));
  EXPECT_EQ((*run)->bad_records(1).size(), 1);
  EXPECT_THAT(end(**run), ElementsAre(Pair("good", "3")));
}

TEST(LocalRunTest, AJobThatFailsSaysWhy) {
  LocalRunSpec spec = spec_of("word_count");
  spec.request.fail_on_bad_record = true;
  auto run = start_local_run(spec);
  ASSERT_TRUE(run) << run.error();
  append(**run, {"\xff"});
  const LocalRunState state = wait_until(**run, [](const auto& now) { return !now.failure.empty(); });
  EXPECT_THAT(state.failure, HasSubstr("UTF-8"));
  EXPECT_FALSE(state.finished);
}

TEST(LocalRunTest, WithoutInputItIsFinishedWhenThatEnds) {
  auto run = start_local_run(spec_of("two_sum"));
  ASSERT_TRUE(run) << run.error();
  EXPECT_FALSE((*run)->state("", 1).finished);
  (*run)->end_input();
  EXPECT_TRUE((*run)->state("", 1).finished);
  EXPECT_THAT(end(**run), testing::IsEmpty());
}

TEST(LocalRunTest, TheFilesOfADirectoryAreCountedAndBadLinesNamedWithThem) {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() + "/one") << "a b\n\xff\n";
  std::ofstream(directory.path() + "/two") << "b";
  LocalRunSpec spec = spec_of("network_word_count");
  spec.request.source = "directory://" + directory.path();
  spec.until_latest = true;
  auto run = start_local_run(spec);
  ASSERT_TRUE(run) << run.error();
  wait_until(**run, [](const auto& now) { return now.finished && now.done_of_known == 1; });
  const auto bad = (*run)->bad_records(10);
  ASSERT_EQ(bad.size(), 1);
  EXPECT_EQ(bad[0].place, "line 2 of one");
  EXPECT_THAT(end(**run), ElementsAre(Pair("b", "2"), Pair("a", "1")));
}

TEST(LocalRunTest, MayEndWhileItsReceiverWaitsForAServer) {
  LocalRunSpec spec = spec_of("network_word_count");
  spec.request.source = "socket://127.0.0.1:1";
  auto run = start_local_run(spec);
  ASSERT_TRUE(run) << run.error();
  const LocalRunState state = wait_until(**run, [](const auto& now) { return !now.problem.empty(); });
  EXPECT_THAT(state.problem, HasSubstr("cannot connect to 127.0.0.1:1"));
  EXPECT_FALSE(state.finished);
  EXPECT_THAT(end(**run), testing::IsEmpty());
}

TEST(LocalRunTest, WhatTheMasterRefusesIsToldAtTheStart) {
  const auto unknown = start_local_run(spec_of("no_job"));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(unknown.error().message, HasSubstr("word_count"));
}

}  // namespace
}  // namespace millrace
