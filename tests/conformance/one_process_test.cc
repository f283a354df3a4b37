// What only a process that holds a whole cluster uses: stores in memory, the table of results, a log with an end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "adapters/bounded_log.h"
#include "adapters/memory_log.h"
#include "adapters/memory_stores.h"
#include "adapters/table_sink.h"
#include "tests/conformance/chunk_collector.h"
#include "tests/conformance/test_loop.h"
#include "tests/fakes/fake_sink.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(MemoryMetadataStoreTest, ReadsSeeACommitAtOnceAndItsAnswerComesLaterInOrder) {
  TestLoop loop(TestLoop::Time::kVirtual);
  MemoryMetadataStore store(loop);
  std::string order;
  WriteSet set;
  set.put("job/2", "b");
  set.put("job/1", "old");
  set.put("job/1", "a");
  set.put("other", "c");
  store.commit(std::move(set), [&](const Status& status) { order += status ? "1" : "?"; });
  WriteSet next;
  next.remove("other");
  store.commit(std::move(next), [&](const Status& status) { order += status ? "2" : "?"; });
  EXPECT_EQ(order, "");
  EXPECT_EQ(store.get("job/1").value(), "a");
  EXPECT_EQ(store.get("other").value(), std::nullopt);
  EXPECT_THAT(store.scan("job/", 10, "").value(), ElementsAre(Pair("job/1", "a"), Pair("job/2", "b")));
  EXPECT_THAT(store.scan("job/", 10, "job/2").value(), ElementsAre(Pair("job/2", "b")));
  EXPECT_THAT(store.scan("job/", 1, "").value(), ElementsAre(Pair("job/1", "a")));
  ASSERT_TRUE(loop.run_until([&] { return order.size() == 2; }));
  EXPECT_EQ(order, "12");
}

TEST(ForgetfulCheckpointStoreTest, SmallFilesAreSharedAndCreatedOnceAndStateIsForgotten) {
  TestLoop loop(TestLoop::Time::kVirtual);
  auto files = std::make_shared<ForgetfulCheckpointStore::Files>();
  ForgetfulCheckpointStore one(loop, files);
  ForgetfulCheckpointStore two(loop, files);
  EXPECT_TRUE(wait_for<bool>(loop, [&](auto done) { one.create("a/b/c", "bytes", std::move(done)); }).value());
  EXPECT_FALSE(wait_for<bool>(loop, [&](auto done) { two.create("a/b/c", "others", std::move(done)); }).value());
  EXPECT_EQ(wait_for<std::string>(loop, [&](auto done) { two.read("a/b/c", std::move(done)); }).value(), "bytes");
  const auto listed = [&] {
    return wait_for<std::vector<std::string>>(loop, [&](auto done) { two.list("a", std::move(done)); }).value();
  };
  EXPECT_THAT(listed(), ElementsAre("a/b/c"));

  StateRun run;
  run.add(StatePartition(0), "key", "value");
  const auto file =
      wait_for<StateFile>(loop, [&](auto done) { one.write_state("s", {std::move(run)}, std::move(done)); });
  EXPECT_EQ(file->name, "s");
  EXPECT_EQ(file->entries, 1);
  const auto read =
      wait_for<StateRun>(loop, [&](auto done) { one.read_state(*file, {StatePartition(0)}, std::move(done)); });
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kNotFound);

  EXPECT_TRUE(wait_for<bool>(loop, [&](auto done) { two.remove({"a/b/c", "s"}, std::move(done)); }));
  EXPECT_THAT(listed(), IsEmpty());
}

class TableSinkTest : public testing::Test {
 protected:
  PublishOutcome publish(Sink& sink, int64_t batch, std::vector<SinkEntry> entries, bool full = false) {
    Publication publication{StatePartition(0), Generation(1), BatchId(0), BatchId(batch), full, std::move(entries)};
    const auto outcome = wait_for<PublishOutcome>(
        loop_, [&](auto done) { sink.publish(identity_, std::move(publication), std::move(done)); });
    return outcome.value_or(PublishOutcome::kFenced);
  }
  void end_round(Sink& sink, int64_t batch, const std::string& offsets) {
    RoundEnd end{1, Generation(1), Epoch(1), BatchId(batch), {}, {{"offsets", offsets}}};
    end.ranks[0] = {{.key = "a", .text = "2", .score = 2}};
    EXPECT_TRUE(wait_for<PublishOutcome>(
        loop_, [&](auto done) { sink.end_round(identity_, std::move(end), std::move(done)); }));
  }
  [[nodiscard]] std::string values() const {
    std::map<std::string, std::string> values;
    for (const auto* entry : table_->entries("")) values[entry->first] = entry->second.text;
    std::string text;
    for (const auto& [key, value] : values) text += key + "=" + value + " ";
    return text;
  }

  TestLoop loop_{TestLoop::Time::kVirtual};
  std::shared_ptr<ResultTable> table_ = std::make_shared<ResultTable>();
  SinkIdentity identity_{"words", JobId(1), Incarnation(1), {{.name = "counts", .rank = "top", .rank_size = 10}}};
};

TEST_F(TableSinkTest, TheTableIsThatOfTheNewestCompleteRound) {
  int rounds = 0;
  table_->on_round([&] { ++rounds; });
  TableSink sink(loop_, table_, nullptr);
  EXPECT_EQ(publish(sink, 1, {{"a", "1", 1}, {"b", "1", 1}}), PublishOutcome::kDone);
  EXPECT_EQ(values(), "") << "the round is open";
  EXPECT_THAT(table_->offsets(), IsEmpty());
  end_round(sink, 1, "0:7,1:23");
  EXPECT_EQ(values(), "a=1 b=1 ");
  EXPECT_THAT(table_->offsets(), ElementsAre(Pair("0", Offset(7)), Pair("1", Offset(23))));
  EXPECT_TRUE(table_->has_rank(""));
  EXPECT_EQ(table_->rank("").at(0).key, "a");
  EXPECT_EQ(publish(sink, 2, {{"a", "2", 2}, {"b", "", 0, true}}), PublishOutcome::kDone);
  EXPECT_EQ(values(), "a=1 b=1 ");
  end_round(sink, 2, "0:8,1:23");
  EXPECT_EQ(values(), "a=2 ");
  EXPECT_EQ(rounds, 2);
}

TEST_F(TableSinkTest, AFullPublicationReplacesThePartition) {
  TableSink sink(loop_, table_, nullptr);
  publish(sink, 1, {{"a", "1", 1}, {"b", "1", 1}}, true);
  publish(sink, 2, {{"c", "1", 1}}, true);
  end_round(sink, 2, "0:1");
  EXPECT_EQ(values(), "c=1 ");
}

TEST_F(TableSinkTest, EachTableHasItsOwnValuesAndRank) {
  identity_.layout.push_back({.name = "sums", .rank = {}});
  TableSink sink(loop_, table_, nullptr);
  publish(sink, 1, {{.key = "a", .text = "1", .score = 1}, {.key = "b", .text = "7", .score = 7, .table = 1}}, true);
  end_round(sink, 1, "0:1");
  EXPECT_EQ(values(), "a=1 ");
  ASSERT_THAT(table_->entries("sums"), testing::SizeIs(1));
  EXPECT_EQ(table_->entries("sums").front()->second.text, "7");
  EXPECT_TRUE(table_->has_rank("counts"));
  EXPECT_FALSE(table_->has_rank("sums"));
  EXPECT_THAT(table_->rank("sums"), IsEmpty());
  publish(sink, 2, {}, true);
  end_round(sink, 2, "0:2");
  EXPECT_THAT(table_->entries("sums"), IsEmpty());
}

TEST_F(TableSinkTest, WhatAnotherSinkRefusesIsNotInTheTable) {
  auto server = std::make_shared<FakeSinkServer>([](const std::string&) { return StatePartition(0); });
  server->timing.latency = [] { return std::chrono::milliseconds(1); };
  TableSink sink(loop_, table_, std::make_unique<FakeSink>(loop_, server));
  EXPECT_EQ(publish(sink, 1, {{"a", "1", 1}}), PublishOutcome::kDataLost) << "nobody has claimed the keys";
  ASSERT_TRUE(wait_for<void>(loop_, [&](auto done) { sink.claim(identity_, false, std::move(done)); }));
  EXPECT_EQ(publish(sink, 2, {{"b", "1", 1}}, true), PublishOutcome::kDone);
  end_round(sink, 2, "0:1");
  EXPECT_EQ(values(), "b=1 ");
  EXPECT_EQ(server->find("words")->table().values.at("b"), "1");
}

TEST(BoundedLogTest, ItEndsWhereItEndedWhenItWasFirstDescribed) {
  TestLoop loop(TestLoop::Time::kReal);
  constexpr LogPartition kPartition(0);
  const auto topic = std::make_shared<MemoryTopic>(2, 1 << 20);
  const auto append = [&](LogPartition partition, const std::string& value) {
    EXPECT_TRUE(topic->append(partition, std::vector<std::string_view>{value}, 0));
  };
  append(kPartition, "before");
  const auto bounds = std::make_shared<LogBounds>();
  BoundedLog one(std::make_unique<MemoryLog>(topic, loop), bounds);
  BoundedLog two(std::make_unique<MemoryLog>(topic, loop), bounds);
  EXPECT_FALSE(bounds->first());
  const auto end_of = [&](Log& log) {
    return wait_for<LogDescription>(loop, [&](auto done) { log.describe(std::move(done)); })->partitions[0].end;
  };
  EXPECT_EQ(end_of(one), Offset(1));
  append(kPartition, "after");
  append(LogPartition(1), "after");
  EXPECT_EQ(end_of(two), Offset(1));

  ChunkCollector collector;
  ChunkCollector nothing;
  ChunkCollector witness;
  const auto reader = two.open({kPartition, Offset(0), std::nullopt}, &collector);
  const auto empty = two.open({LogPartition(1), Offset(0), std::nullopt}, &nothing);
  MemoryLog whole(topic, loop);
  const auto follower = whole.open({kPartition, Offset(0), std::nullopt}, &witness);
  ASSERT_TRUE(loop.run_until([&] { return witness.values().size() == 2; }));
  EXPECT_THAT(collector.values(), ElementsAre("before"));
  EXPECT_THAT(nothing.values(), IsEmpty());
}

}  // namespace
}  // namespace millrace
