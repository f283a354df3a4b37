// Executors driven by a scripted master: registration, batches, publication, checkpoints, recovery and a change of the
// master.
#include "tests/sim/executor_fixture.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(ExecutorTest, IsReadyWithoutAskingALogThatHasNoIdentityToCompare) {
  topic_.set_available(false);
  accept(add_executor(1));
}

TEST_F(ExecutorTest, IsRefusedWhereItSeesAnotherLogThanTheMaster) {
  topic_id_ = "of another log by that name";
  const ProcessId one = add_executor(1);
  answer_registration(one);
  ASSERT_TRUE(wait([&] { return master_->ready.contains(one); }));
  EXPECT_THAT(master_->ready[one].problem,
              ::testing::StartsWith("this worker does not see the log that the master sees"));
}

TEST_F(ExecutorTest, AppliesABatchOnlyWhenItIsDurable) {
  const ProcessId one = add_executor(1);
  accept(one);
  assign(1, {one});
  append("a b a");
  run(1, cut());
  world_.run_for(seconds(1));
  EXPECT_FALSE(all_applied(1));
  EXPECT_EQ(master_->results.size(), 2u);  // the map runs ahead
  progress(1);
  ASSERT_TRUE(wait([&] { return all_applied(1); }));
  progress(1, 1);
  EXPECT_EQ(get("a", 1), "4");
  EXPECT_EQ(get("b", 1), "2");
  EXPECT_EQ(get("c", 1), "none");
  const wire::MapResult& result = master_->results.at({1, 0});
  EXPECT_EQ(result.records, 1);
  EXPECT_EQ(result.emitted, 3);
}

TEST_F(ExecutorTest, TwoExecutorsSendTheirBlocksToEachOther) {
  const auto [one, two] = add_two();
  assign(1, {one, two});
  for (int64_t batch = 1; batch <= 20; ++batch) {
    append("a b c d e f g h i j");
    run_through(batch, cut());
  }
  for (const char* word : {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}) EXPECT_EQ(get(word, 20), "40") << word;
}

TEST_F(ExecutorTest, AQueryWaitsForItsBatchAndIsAnsweredAsOfIt) {
  const ProcessId one = add_executor(1);
  accept(one);
  assign(1, {one});
  append("a");
  run_through(1, cut());
  append("a");
  const wire::RunBatch second = cut();
  run(2, second);
  progress(2, 1);
  ASSERT_TRUE(wait([&] { return all_applied(2); }));
  EXPECT_EQ(get("a", 1), "2");  // the old value is kept while the job is at 1
  EXPECT_EQ(get("a", 2), "4");
}

TEST_F(ExecutorTest, APublicationRoundBringsValuesRankAndStatusToTheSink) {
  FakeSink by_master(master_->process.make_loop("sink"), sink_);
  by_master.claim({"words", kJob, Incarnation(1), {}}, false, [](Status) {});
  const auto [one, two] = add_two();
  assign(1, {one, two});
  append("a b a");
  wire::RunBatch plan = cut();
  plan.publish = true;
  run_through(1, plan);
  ASSERT_TRUE(wait([&] { return master_->published.size() == kStatePartitions; }));
  wire::EndRound end;
  end.status["records"] = "2";
  wire::Body body;
  body.__set_end_round(end);
  master_->send(one, body, 1);
  ASSERT_TRUE(wait([&] { return master_->ended_round == 1; }));
  const FakeSinkServer::Keys* keys = sink_->find("words");
  ASSERT_NE(keys, nullptr);
  EXPECT_EQ(keys->table().values.at("a"), "4");
  EXPECT_EQ(keys->table().values.at("b"), "2");
  EXPECT_EQ(keys->table().rank.at("a"), 4);
  EXPECT_EQ(keys->status.at("records"), "2");

  wire::Query query;
  query.id = 1;
  query.top = 1;
  query.at = 1;
  body = wire::Body();
  body.__set_query(query);
  master_->send(one, body);
  ASSERT_TRUE(wait([&] { return !master_->replies.empty(); }));
  ASSERT_EQ(master_->replies[0].entries.size(), 1u);
  EXPECT_EQ(master_->replies[0].entries[0].key, "a");
}

TEST_F(ExecutorTest, ARankOfVeryLongWordsGoesThroughAndTooLongAnAnswerIsRefusedWithARemedy) {
  const auto [one, two] = add_two();
  assign(1, {one, two});
  constexpr int64_t kWords = 40;  // more than one message for each executor
  for (int64_t batch = 1; batch <= kWords; ++batch) {
    append(std::to_string(batch) + std::string((1 << 20) - 100, 'x'));
    wire::RunBatch plan = cut();
    plan.rank = batch == kWords;
    run_through(batch, plan);
  }
  const auto top = [&](int64_t id, int32_t n) {
    wire::Query query;
    query.id = id;
    query.top = n;
    query.at = kWords;
    wire::Body body;
    body.__set_query(query);
    master_->send(one, body);
    EXPECT_TRUE(wait([&] { return !master_->replies.empty() && master_->replies.back().id == id; }));
    return master_->replies.back();
  };
  const wire::QueryReply some = top(1, 5);
  EXPECT_EQ(some.problem, "");
  EXPECT_EQ(some.entries.size(), 5u);
  const wire::QueryReply all = top(2, 1000);
  EXPECT_NE(all.problem.find("ask for fewer"), std::string::npos) << all.problem;
  EXPECT_TRUE(all.final);
  EXPECT_TRUE(all.entries.empty());
  EXPECT_EQ(master_->trouble.what, "");
}

TEST_F(ExecutorTest, ARankThatNoMessageHoldsStopsTheJobByName) {
  const auto [one, two] = add_two();
  assign(1, {one, two});
  for (int64_t batch = 1; batch <= 120; ++batch) {
    append(std::to_string(batch) + std::string((1 << 20) - 100, 'x'));
    wire::RunBatch plan = cut();
    plan.rank = batch == 120;
    run_through(batch, plan);
  }
  ASSERT_TRUE(wait([&] { return master_->trouble.fatal; }));
  EXPECT_NE(master_->trouble.what.find("--max-record-bytes"), std::string::npos) << master_->trouble.what;
}

TEST_F(ExecutorTest, ASinkThatLostItsDataGetsAllKeysInTheNextRound) {
  FakeSink by_master(master_->process.make_loop("sink"), sink_);
  by_master.claim({"words", kJob, Incarnation(1), {}}, false, [](Status) {});
  const ProcessId one = add_executor(1);
  accept(one);
  assign(1, {one});
  append("a b");
  wire::RunBatch plan = cut();
  plan.publish = true;
  run_through(1, plan);
  ASSERT_TRUE(wait([&] { return master_->published.size() == kStatePartitions; }));
  sink_->lose_all_data();
  by_master.claim({"words", kJob, Incarnation(1), {}}, false, [](Status) {});
  append("a");
  plan = cut();
  plan.publish = true;
  run_through(2, plan);
  ASSERT_TRUE(wait([&] { return master_->lost.size() == kStatePartitions; }));
  plan = wire::RunBatch();
  plan.publish = true;
  run_through(3, plan);
  ASSERT_TRUE(wait(
      [&] { return std::ranges::all_of(master_->published, [](const auto& entry) { return entry.second == 3; }); }));
  EXPECT_EQ(sink_->find("words")->table().values.at("a"), "4");
  EXPECT_EQ(sink_->find("words")->table().values.at("b"), "2");
}

TEST_F(ExecutorTest, NothingIsPublishedWhileTheLeaseHasLapsed) {
  FakeSink by_master(master_->process.make_loop("sink"), sink_);
  by_master.claim({"words", kJob, Incarnation(1), {}}, false, [](Status) {});
  const ProcessId one = add_executor(1);
  accept(one);
  assign(1, {one});
  append("a");
  wire::RunBatch plan = cut();
  plan.publish = true;
  sink_->failure = Error{ErrorCode::kUnavailable, "away"};
  run_through(1, plan);
  ASSERT_TRUE(wait([&] { return master_->trouble.what.find("away") != std::string::npos; }));
  world_.cut_both_ways("master", "executor-1");
  world_.run_for(seconds(2));
  sink_->failure.reset();
  world_.run_for(seconds(5));
  EXPECT_EQ(sink_->find("words")->table().values.size(), 0u);
  world_.heal();
  ASSERT_TRUE(wait([&] { return master_->published.size() == kStatePartitions; }));
  ASSERT_TRUE(wait([&] { return master_->trouble.what.empty(); }));
}

TEST_F(ExecutorTest, AnotherExecutorRestoresACheckpointAndTheBatchesAfterIt) {
  const auto [one, two] = add_two();
  assign(1, {one, two});
  append("a b c d e f g");
  wire::RunBatch plan = cut();
  plan.checkpoint = true;
  run_through(1, plan);
  ASSERT_TRUE(wait([&] { return master_->checkpointed.size() == 2; }));
  std::vector<wire::CheckpointFile> files;
  for (const auto& [process, report] : master_->checkpointed) {
    ASSERT_EQ(report.problem, "");
    for (const wire::CheckpointFile& file : report.files) {
      EXPECT_EQ(file.from_batch, 0);
      EXPECT_EQ(file.to_batch, 1);
      EXPECT_EQ(file.partitions.size(), 4u);
      if (!file.name.empty()) files.push_back(file);
    }
  }
  progress(1, 1, 1);
  append("a b c d e f g");
  run_through(2, cut());
  append("a b c d e f g");
  run_through(3, cut());

  kill(two);
  assign(2, {one}, 3, 1, files);
  std::vector<int32_t> moved;
  for (const auto& [p, owner] : state_owners_) {
    if (owner.second == 2) moved.push_back(p);
  }
  EXPECT_EQ(moved.size(), 4u);
  for (int64_t batch = 2; batch <= 3; ++batch) {
    wire::RunBatch old = plans_[batch];
    old.replay = true;
    wire::Body body;
    body.__set_run_batch(old);
    master_->send(one, body, batch);
    replay(batch, one, moved);
  }
  progress(3, 3, 1);
  ASSERT_TRUE(wait([&] { return all_applied(3); }));
  append("a b c d e f g");
  run_through(4, cut());
  for (const char* word : {"a", "b", "c", "d", "e", "f", "g"}) EXPECT_EQ(get(word, 4), "8") << word;
}

TEST_F(ExecutorTest, ANewMasterPlansAnewWhatWasNotDurable) {
  const ProcessId one = add_executor(1);
  accept(one);
  assign(1, {one});
  append("a");
  run_through(1, cut());
  const std::map<int32_t, int64_t> durable_to = planned_to_;
  append("a");
  run(2, cut());  // mapped, but never durable
  world_.run_for(seconds(1));

  new_master(2);
  accept(one);
  ASSERT_EQ(master_->registrations[one].owned.size(), static_cast<size_t>(kStatePartitions));
  EXPECT_EQ(master_->registrations[one].owned[0].applied, 1);
  planned_to_ = durable_to;
  append("a");
  assign(2, {one}, 1);
  run_through(2, cut());  // another range under the same number
  EXPECT_EQ(get("a", 2), "6");
  EXPECT_EQ(nodes_.at(one).exit_reason, "");
}

TEST_F(ExecutorTest, TheReceiverRunsInTheOwnerOfTheRankAndInNoOther) {
  receiver_ = "socket://far:1";
  const auto [one, two] = add_two();
  const auto runs = [this](ProcessId process, const std::string& which) {
    const auto& receivers = nodes_.at(process).receivers;
    return which.empty() ? receivers.empty() : receivers == std::vector<std::string>{which};
  };
  EXPECT_TRUE(runs(one, ""));
  assign(1, {one, two});
  ASSERT_TRUE(wait([&] { return runs(one, "socket://far:1 by here:1"); }));
  nodes_.at(one).receiver_problem("far is away");
  EXPECT_TRUE(wait([&] { return master_->trouble.what == "far is away"; }));
  assign(2, {two, one});
  ASSERT_TRUE(wait([&] { return runs(one, "") && runs(two, "socket://far:1 by here:1"); }));
  EXPECT_TRUE(wait([&] { return master_->trouble.what.empty(); }));

  api_ = "there:1";
  new_master(2);
  accept(one);
  accept(two);
  assign(3, {two, one});
  ASSERT_TRUE(wait([&] { return runs(two, "socket://far:1 by there:1"); }));
  EXPECT_TRUE(runs(one, ""));
}

TEST_F(ExecutorTest, ABatchThatAMasterItNeverHeardPlannedAnewIsNotTakenForTheOneItKnows) {
  const ProcessId one = add_executor(1);
  accept(one);
  assign(1, {one});
  append("a");
  run_through(1, cut());
  const std::map<int32_t, int64_t> durable_to = planned_to_;
  append("a");
  run(2, cut());  // mapped, but never durable
  world_.run_for(seconds(1));

  // The master of epoch 2 made a batch 2 without records durable, and ended.
  new_master(3);
  accept(one);
  planned_to_ = durable_to;
  assign(2, {one}, 2);
  wire::RunBatch durable;
  durable.replay = true;
  run(2, durable);
  progress(2);
  ASSERT_TRUE(wait([&] { return all_applied(2); }));
  progress(2, 2);
  EXPECT_EQ(get("a", 2), "2");
  run_through(3, cut());
  EXPECT_EQ(get("a", 3), "4");
}

TEST_F(ExecutorTest, WithoutTheCheckpointStoreItSaysSo) {
  disk_->files.clear();
  const ProcessId one = add_executor(1);
  ASSERT_TRUE(wait([&] { return master_->registrations.contains(one); }));
  wire::ExecutorAccepted accepted;
  accepted.spec.type = "word_count";
  accepted.spec.state_partitions = kStatePartitions;
  accepted.spec.partition_hash = 1;
  accepted.spec.max_record_bytes = 1 << 20;
  accepted.spec.batch_interval_us = 10'000;
  accepted.probe_name = "probe/1";
  wire::Body body;
  body.__set_executor_accepted(accepted);
  master_->send(one, body);
  ASSERT_TRUE(wait([&] { return master_->ready.contains(one); }));
  EXPECT_NE(master_->ready[one].problem.find("checkpoint store"), std::string::npos) << master_->ready[one].problem;
}

TEST_F(ExecutorTest, TellsTheMasterWhatItsLanesHold) {
  const ProcessId one = add_executor(1);
  accept(one);
  assign(1, {one});
  append("a b a");
  const auto sum = [&](int64_t wire::LaneFigures::* figure) {
    int64_t total = 0;
    for (const wire::LaneFigures& lane : master_->figures[one].lanes) total += lane.*figure;
    return total;
  };
  ASSERT_TRUE(wait([&] { return sum(&wire::LaneFigures::read_ahead_bytes) > 0; }));
  EXPECT_EQ(master_->figures[one].lanes.size(), 2U);
  EXPECT_EQ(sum(&wire::LaneFigures::kept_bytes), 0);
  run_through(1, cut());
  ASSERT_TRUE(wait([&] { return sum(&wire::LaneFigures::kept_bytes) > 0; }));
  EXPECT_EQ(sum(&wire::LaneFigures::read_ahead_bytes), 0);
}

TEST_F(ExecutorTest, EndsWhenTheMasterSaysSo) {
  const ProcessId one = add_executor(1);
  accept(one);
  wire::ResetExecutor reset;
  reset.reason = "the job stopped";
  wire::Body body;
  body.__set_reset_executor(reset);
  master_->send(one, body);
  ASSERT_TRUE(wait([&] { return !nodes_.at(one).exit_reason.empty(); }));
  EXPECT_NE(nodes_.at(one).exit_reason.find("the job stopped"), std::string::npos);
}

}  // namespace
}  // namespace millrace
