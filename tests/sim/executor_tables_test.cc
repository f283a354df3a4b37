// Executors driven by a scripted master: what they tell the tables of state partitions, and what they make of what
// those say.
#include "tests/sim/executor_fixture.h"
#include "tests/sim/passing.h"

namespace millrace {
namespace {

// What each table was told, in order; a repeated "restore" once.
class WatchedTable : public PassingTable {
 public:
  WatchedTable(std::unique_ptr<StateTable> real, std::vector<std::string>& told)
      : PassingTable(std::move(real)), told_(told) {}
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    told_.push_back("apply " + std::to_string(context.batch.value()) + " of " + std::to_string(context.time_ms) +
                    (context.tick ? ", tick" : ""));
    return PassingTable::apply(context, sections);
  }
  Status restore(const StateRun::Entry& entry, bool unpublished) override {
    if (told_.empty() || told_.back() != "restore") told_.emplace_back("restore");
    return PassingTable::restore(entry, unpublished);
  }
  void finish_restore(int64_t tick_ms) override {
    told_.push_back("finish " + std::to_string(tick_ms));
    PassingTable::finish_restore(tick_ms);
  }

 private:
  std::vector<std::string>& told_;
};

TEST_F(ExecutorTest, TablesAreToldWhenTheirRestoreIsOverAndTheRecordedTimeOfEachBatch) {
  std::deque<std::vector<std::string>> tables;  // in the order in which they were made
  make_job_ = [&tables](const std::string& type, const JobContext& context) -> Result<std::shared_ptr<const Job>> {
    EXPECT_EQ(context.batch_interval_us, 10'000);
    return std::make_shared<PassingJob>(*make_builtin_job(type, context), [&tables](std::unique_ptr<StateTable> real) {
      return std::make_unique<WatchedTable>(std::move(real), tables.emplace_back());
    });
  };
  const std::string line = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
  const auto [one, two] = add_two();
  assign(1, {one});
  append(line);
  wire::RunBatch plan = cut();
  plan.time_ms = 1010;
  plan.tick = true;
  plan.checkpoint = true;
  run_through(1, plan);
  ASSERT_TRUE(wait([&] { return master_->checkpointed.contains(one); }));
  append(line);
  plan = cut();
  plan.time_ms = 1050;
  run_through(2, plan);
  ASSERT_EQ(tables.size(), static_cast<size_t>(kStatePartitions));
  for (const auto& told : tables) {
    EXPECT_THAT(told, testing::ElementsAre("finish 0", "apply 1 of 1010, tick", "apply 2 of 1050"));
  }
  tables.clear();
  const std::vector<wire::CheckpointFile> files = master_->checkpointed[one].files;
  kill(one);
  assign(2, {two}, 2, 1, files, 1010);
  wire::RunBatch old = plans_[2];
  old.replay = true;
  wire::Body body;
  body.__set_run_batch(old);
  master_->send(two, body, 2);
  replay(2, two, {0, 1, 2, 3, 4, 5, 6, 7});
  progress(2, 2, 1);
  ASSERT_TRUE(wait([&] { return all_applied(2); }));
  ASSERT_EQ(tables.size(), static_cast<size_t>(kStatePartitions));
  for (const auto& told : tables) {
    EXPECT_THAT(told, testing::ElementsAre("restore", "finish 1010", "apply 2 of 1050"));
  }
}

// Its key "b" goes with batch 2 and leaves no trace, as in a checkpoint's merged base.
class LosingTable : public PassingTable {
 public:
  LosingTable(std::unique_ptr<StateTable> real, bool says_so) : PassingTable(std::move(real)), says_so_(says_so) {}
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    gone_ = gone_ || context.batch == BatchId(2);
    return PassingTable::apply(context, sections);
  }
  void freeze(StatePartition self, StateRun& run) override {
    StateRun all;
    real_->freeze_all(self, all);
    for (size_t i = 0; i < all.size(); ++i) {
      if (!gone_ || !all[i].key.ends_with("b")) run.add(all[i].partition, all[i].key, all[i].value);
    }
  }
  [[nodiscard]] bool must_publish_all() const override { return gone_ && says_so_; }
  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override {
    auto entries = PassingTable::take_unpublished(all);
    if (gone_) std::erase_if(entries, [](const SinkEntry& entry) { return entry.key == "b"; });
    return entries;
  }

 private:
  const bool says_so_;
  bool gone_ = false;
};

class LosingJob : public PassingJob {
 public:
  LosingJob(std::shared_ptr<const Job> real, bool says_so)
      : PassingJob(std::move(real), [says_so](std::unique_ptr<StateTable> table) {
          return std::make_unique<LosingTable>(std::move(table), says_so);
        }) {}
  [[nodiscard]] bool removes_keys() const override { return true; }
};

TEST_F(ExecutorTest, KeysThatWereRemovedBetweenTheLastPublicationAndTheCheckpointGoFromTheSink) {
  make_job_ = [](const std::string& type, const JobContext& context) -> Result<std::shared_ptr<const Job>> {
    return std::make_shared<LosingJob>(*make_builtin_job(type, context), false);
  };
  FakeSink by_master(master_->process.make_loop("sink"), sink_);
  by_master.claim({"words", kJob, Incarnation(1), {}}, false, [](Status) {});
  const auto [one, two] = add_two();
  assign(1, {one});
  append("a b");
  wire::RunBatch plan = cut();
  plan.publish = true;
  run_through(1, plan);
  ASSERT_TRUE(wait([&] { return master_->published.size() == kStatePartitions; }));
  EXPECT_EQ(sink_->find("words")->table().values.at("b"), "2");
  append("c");
  plan = cut();
  plan.checkpoint = true;
  run_through(2, plan);
  ASSERT_TRUE(wait([&] { return master_->checkpointed.contains(one); }));
  const std::vector<wire::CheckpointFile> files = master_->checkpointed[one].files;
  kill(one);
  assign(2, {two}, 2, 2, files, 0, 1);
  progress(2, 2, 2);
  append("d");
  plan = cut();
  plan.publish = true;
  run_through(3, plan);
  const auto done = [&] {
    return std::ranges::all_of(master_->published, [](const auto& entry) { return entry.second == 3; });
  };
  ASSERT_TRUE(wait(done));
  EXPECT_THAT(sink_->find("words")->table().values,
              testing::ElementsAre(testing::Pair("a", "2"), testing::Pair("c", "2"), testing::Pair("d", "2")));
}

TEST_F(ExecutorTest, ATableThatNoLongerKnowsWhatItRemovedPublishesAllItsKeys) {
  make_job_ = [](const std::string& type, const JobContext& context) -> Result<std::shared_ptr<const Job>> {
    return std::make_shared<LosingJob>(*make_builtin_job(type, context), true);
  };
  FakeSink by_master(master_->process.make_loop("sink"), sink_);
  by_master.claim({"words", kJob, Incarnation(1), {}}, false, [](Status) {});
  const ProcessId one = add_executor(1);
  accept(one);
  assign(1, {one});
  for (int64_t batch = 1; batch <= 2; ++batch) {
    append("a b");
    wire::RunBatch plan = cut();
    plan.publish = true;
    run_through(batch, plan);
    ASSERT_TRUE(wait([&] {
      return master_->published.size() == kStatePartitions &&
             std::ranges::all_of(master_->published, [&](const auto& entry) { return entry.second == batch; });
    }));
  }
  EXPECT_THAT(sink_->find("words")->table().values, testing::ElementsAre(testing::Pair("a", "4")));
}

// Its scores turn round with batch 2: who was last is first.
class TurningTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    sign_ = context.batch == BatchId(1) ? 1 : -1;
    return PassingTable::apply(context, sections);
  }
  [[nodiscard]] std::vector<SinkEntry> top(size_t n) override {
    std::vector<SinkEntry> all = real_->top(1000);
    for (SinkEntry& entry : all) entry.score *= sign_;
    std::ranges::sort(all, std::ranges::greater(), &SinkEntry::score);
    all.resize(std::min(n, all.size()));
    return all;
  }
  [[nodiscard]] std::vector<SinkEntry> top_above(size_t n, double at_least) override {
    std::vector<SinkEntry> highest = top(n);
    std::erase_if(highest, [at_least](const SinkEntry& entry) { return entry.score < at_least; });
    return highest;
  }

 private:
  double sign_ = 1;
};

class RankOfThree : public PassingJob {
 public:
  using PassingJob::PassingJob;
  [[nodiscard]] std::vector<TablePlan> tables() const override {
    std::vector<TablePlan> tables = PassingJob::tables();
    tables.front().rank_size = 3;
    return tables;
  }
};

TEST_F(ExecutorTest, ARankWhoseScoresFallIsAsIfItWereTheFirst) {
  make_job_ = [](const std::string& type, const JobContext& context) -> Result<std::shared_ptr<const Job>> {
    return std::make_shared<RankOfThree>(*make_builtin_job(type, context), [](std::unique_ptr<StateTable> real) {
      return std::make_unique<TurningTable>(std::move(real));
    });
  };
  const auto [one, two] = add_two();
  assign(1, {one, two});
  std::string line;
  for (char word = 'a'; word <= 'z'; ++word) {
    for (char times = 'a'; times <= word; ++times) line += std::string(1, word) + " ";
  }
  for (int64_t batch = 1; batch <= 3; ++batch) {
    append(line);
    wire::RunBatch plan = cut();
    plan.rank = true;
    run_through(batch, plan);
    wire::Query query;
    query.id = batch;
    query.top = 3;
    query.at = batch;
    wire::Body body;
    body.__set_query(query);
    master_->send(one, body);
    ASSERT_TRUE(wait([&] { return !master_->replies.empty() && master_->replies.back().id == batch; }));
    std::string rank;
    for (const wire::QueryEntry& entry : master_->replies.back().entries) rank += entry.key;
    EXPECT_EQ(rank, batch == 1 ? "zyx" : "abc") << "after batch " << batch;
  }
}

TEST_F(ExecutorTest, TellsTheNewestBatchThatChangedAnything) {
  const auto [one, two] = add_two();
  assign(1, {one, two});
  append("a b c d e f g h i j");
  run_through(1, cut());
  run_through(2, wire::RunBatch());
  EXPECT_EQ(master_->changed[one], 1);
  EXPECT_EQ(master_->changed[two], 1);
  append("a");
  const int32_t changed = state_partition_of("a", kStatePartitions).value();
  const ProcessId owner(static_cast<uint64_t>(state_owners_[changed].first));
  run_through(3, cut());
  EXPECT_EQ(master_->changed[owner], 3);
  EXPECT_EQ(master_->changed[owner == one ? two : one], 1);
  // A new master is told, too.
  new_master(2);
  accept(one);
  accept(two);
  assign(2, {one, two}, 3);
  ASSERT_TRUE(wait([&] { return all_applied(3); }));
  EXPECT_EQ(master_->changed[owner], 3);
}

}  // namespace
}  // namespace millrace
