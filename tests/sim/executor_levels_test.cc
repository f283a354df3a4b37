// Executors driven by a scripted master: jobs with levels.
#include <set>

#include "tests/sim/executor_fixture.h"
#include "tests/sim/level_job.h"
#include "tests/sim/passing.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ExecutorLevelsTest : public ExecutorTest {
 protected:
  ExecutorLevelsTest() {
    make_job_ = [](const std::string&, const JobContext& context) -> Result<std::shared_ptr<const Job>> {
      return make_level_job(context.state_partitions);
    };
  }

  // What was appended, mapped and exchanged, but not durable.
  void run_mapped(int64_t batch) {
    master_->results.clear();
    run(batch, cut());
    ASSERT_TRUE(wait([&] { return master_->results.size() == kLogPartitions; }));
    world_.run_for(milliseconds(100));
  }
  void make_durable_for(ProcessId process, int64_t batch) {
    wire::Progress progress;
    progress.durable = batch;
    wire::Body body;
    body.__set_progress(progress);
    master_->send(process, body);
    world_.run_for(milliseconds(100));
  }
  // Who has no generation any more gets the next assignment's.
  void renew_generations() {
    for (auto& [partition, owner] : state_owners_) owner.first = 0;
  }
  void run_again(int64_t batch) {
    wire::RunBatch plan = plans_[batch];
    plan.replay = true;
    wire::Body body;
    body.__set_run_batch(plan);
    master_->send_all(body, batch);
    for (const auto& [process, node] : nodes_) replay(batch, process, {0, 1, 2, 3, 4, 5, 6, 7});
  }
};

TEST_F(ExecutorLevelsTest, TheSecondLevelTakesWhatTheFirstOneEmitsAtAllExecutors) {
  const auto [one, two] = add_two();
  assign(1, {one, two});
  for (int64_t batch = 1; batch <= 20; ++batch) {
    append("a b c d e f g h i j");
    run_through(batch, cut());
  }
  for (const char* word : {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}) EXPECT_EQ(get(word, 20), "40") << word;
  // All words are at 40, and came by the partitions that count them.
  std::set<std::pair<StatePartition, std::string>> words;
  for (char word = 'a'; word <= 'j'; ++word) {
    words.emplace(state_partition_of(std::string(1, word), kStatePartitions), std::string(1, word));
  }
  LevelValue all;
  for (const auto& [partition, word] : words) level_step(all, word, true);
  EXPECT_EQ(get("#40", 20), all.text());
  EXPECT_EQ(get("#38", 20), "none") << "all have left it";
}

TEST_F(ExecutorLevelsTest, ABatchIsNotAppliedBeforeItsLastLevelAndAnswersAreOfTheOneBefore) {
  const auto [one, two] = add_two();
  assign(1, {one, two});
  append("a b c d e f g h i j");
  run_through(1, cut());
  append("a b c d e f g h i j");
  run_mapped(2);
  make_durable_for(one, 2);
  for (const auto& [p, owner] : state_owners_) {
    EXPECT_EQ((master_->applied[{p, owner.second}]), 1) << "partition " << p;
  }
  EXPECT_EQ(get("a", 1), "2");
  EXPECT_EQ(get("j", 1), "2");
  // A new master is told which batch has begun.
  new_master(2);
  accept(one);
  accept(two);
  for (const wire::OwnedPartition& owned : master_->registrations[one].owned) {
    EXPECT_EQ(owned.applied, 1);
    EXPECT_EQ(owned.begun, 2);
  }
  for (const wire::OwnedPartition& owned : master_->registrations[two].owned) {
    EXPECT_EQ(owned.applied, 1);
    EXPECT_FALSE(owned.__isset.begun);
  }
  // It goes on where it was.
  assign(2, {one, two}, 2);
  world_.run_for(milliseconds(100));
  for (const auto& [p, owner] : state_owners_) {
    EXPECT_EQ((master_->applied[{p, owner.second}]), 1) << "partition " << p;
  }
  run_again(2);
  ASSERT_TRUE(wait([&] { return all_applied(2); }));
  progress(2, 2);
  EXPECT_EQ(get("a", 2), "4");
}

TEST_F(ExecutorLevelsTest, APartitionThatHasBegunWhatNeverWasSaysSoAndStopsThere) {
  const auto [one, two] = add_two();
  assign(1, {one, two});
  append("a b c d e f g h i j");
  run_through(1, cut());
  append("a b c d e f g h i j");
  run_mapped(2);
  make_durable_for(one, 2);

  new_master(2);
  accept(one);
  accept(two);
  assign(2, {one, two}, 1);
  world_.run_for(milliseconds(100));
  for (const auto& [p, owner] : state_owners_) {
    const bool has_begun = owner.first == signed_of(one);
    EXPECT_EQ((master_->begun[{p, owner.second}]), has_begun ? INT64_MAX : 0) << "partition " << p;
  }
  // The batch that is planned anew is not made of what is left of the old one.
  run_again(2);
  progress(2);
  world_.run_for(seconds(1));
  EXPECT_FALSE(all_applied(2));
  renew_generations();
  assign(3, {one, two}, 2);
  run_again(1);
  run_again(2);
  ASSERT_TRUE(wait([&] { return all_applied(2); }));
  progress(2, 2);
  EXPECT_EQ(get("a", 2), "4");
}

// Emits one and the same text, which is another one for tables that are made later, and remembers what came.
class TellingTable : public PassingTable {
 public:
  TellingTable(std::unique_ptr<StateTable> real, std::string text, std::vector<std::string>& heard)
      : PassingTable(std::move(real)), text_(std::move(text)), heard_(heard) {}
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    if (context.level == 1) return {};
    for (const std::string_view section : sections) heard_.emplace_back(section);
    return {};
  }
  [[nodiscard]] std::vector<ShuffleBlock::Section> take_emitted() override {
    std::vector<ShuffleBlock::Section> sections;
    for (int32_t p = 0; p < kStatePartitions; ++p) sections.push_back({StatePartition(p), SharedBuffer::of(text_)});
    return sections;
  }

 private:
  const std::string text_;
  std::vector<std::string>& heard_;
};

using Heard = std::deque<std::vector<std::string>>;  // by table, in the order in which they were made

// A job of such tables; both arguments outlive it.
JobFactory telling(const std::string& text, Heard& heard) {
  return [&](const std::string&, const JobContext& context) -> Result<std::shared_ptr<const Job>> {
    return std::make_shared<PassingJob>(
        make_level_job(context.state_partitions), [&](std::unique_ptr<StateTable> real) {
          return std::make_unique<TellingTable>(std::move(real), text, heard.emplace_back());
        });
  };
}

TEST_F(ExecutorLevelsTest, WhatWasEmittedForAnAssignmentThatIsOverIsNotTaken) {
  std::string text = "old";
  Heard heard;
  make_job_ = telling(text, heard);
  const auto [one, two] = add_two();
  assign(1, {one, two});
  append("a");
  run_mapped(1);
  world_.cut("executor-2", "executor-1");
  progress(1);
  world_.run_for(milliseconds(100));
  const auto heard_anything = [](const auto& told) { return !told.empty(); };
  ASSERT_EQ(std::ranges::count_if(heard, heard_anything), kStatePartitions / 2) << "those of the second executor";
  // The blocks for the first one are still on their way when all begin anew.
  text = "new";
  heard.clear();
  renew_generations();
  assign(2, {one, two}, 1);
  world_.run_for(milliseconds(100));
  world_.heal();
  world_.run_for(seconds(2));
  run_again(1);
  ASSERT_TRUE(wait([&] { return all_applied(1); }));
  ASSERT_EQ(heard.size(), static_cast<size_t>(kStatePartitions));
  for (const auto& told : heard) {
    EXPECT_EQ(told, std::vector<std::string>(kStatePartitions, "new")) << "one of each partition";
  }
}

TEST_F(ExecutorLevelsTest, MoreThanALevelMayBringToOneExecutorFailsTheJobByName) {
  const std::string text(ShuffleRouter::kMaxLevel / 16 + 1, 'x');  // 4 partitions of one tell it to 4 of the other
  Heard heard;
  make_job_ = telling(text, heard);
  const auto [one, two] = add_two();
  assign(1, {one, two});
  append("a");
  run(1, cut());
  progress(1);
  ASSERT_TRUE(wait([&] { return !master_->trouble.what.empty(); }));
  EXPECT_TRUE(master_->trouble.fatal);
  EXPECT_EQ(
      master_->trouble.what,
      "what comes out of level 1 of batch 1 for one worker has more than 96 MiB; go back to an earlier checkpoint "
      "with more workers, or with a job of which less changes at once");
}

}  // namespace
}  // namespace millrace
