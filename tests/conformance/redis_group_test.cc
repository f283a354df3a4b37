// Publications of many state partitions that Redis gets in one call: each is judged by its own fence all the same.
#include "adapters/open_sink.h"
#include "tests/conformance/sink_harness.h"

namespace millrace {
namespace {

using testing::Each;
using testing::ElementsAre;

class RedisGroupTest : public testing::Test, public SinkCalls {
 protected:
  RedisGroupTest() : SinkCalls(loop_) {}
  std::unique_ptr<Sink> connect() { return RedisSink::open(loop_, redis_.uri(), redis_options()).value(); }

  void ask(Sink& sink, const SinkIdentity& identity, const std::vector<Publication>& publications) {
    outcomes_.assign(publications.size(), "");
    answered_ = 0;
    for (size_t index = 0; index < publications.size(); ++index) {
      sink.publish(identity, publications[index], [this, index](Result<PublishOutcome> outcome) {
        outcomes_[index] = outcome ? name_of(*outcome) : std::string(to_string(outcome.error().code));
        ++answered_;
      });
    }
  }
  // As one: the sink waits for the answer to another call until all of them are there.
  std::vector<std::string> publish_together(Sink& sink, const SinkIdentity& identity,
                                            const std::vector<Publication>& publications) {
    redis_.freeze();
    sink.claim(identity, false, [](const Status&) {});
    ask(sink, identity, publications);
    redis_.unfreeze();
    EXPECT_TRUE(loop_.run_until([&] { return answered_ == publications.size(); }));
    return outcomes_;
  }
  // Script calls since the last CONFIG RESETSTAT.
  int script_calls() {
    const std::string all = redis_.command({"INFO", "commandstats"}).front();
    const std::string name = "cmdstat_evalsha:calls=";
    const size_t at = all.find(name);
    return at == std::string::npos ? 0 : std::stoi(all.substr(at + name.size()));
  }
  std::string fence_of(int partition) {
    return redis_.command({"HGET", "{words}:fence", "p" + std::to_string(partition)}).front();
  }

  TestLoop loop_{TestLoop::Time::kReal};
  RedisServer redis_;
  std::vector<std::string> outcomes_;
  size_t answered_ = 0;
};

std::vector<Publication> of_many_partitions(int partitions, int since, int batch) {
  std::vector<Publication> all;
  for (int p = 0; p < partitions; ++p) {
    // Every other one has nothing to say but its batch.
    const Hash values = p % 2 == 0 ? Hash{{"k" + std::to_string(p), std::to_string(batch)}} : Hash();
    all.push_back(publication(p, 1, since, batch, values));
  }
  return all;
}

SinkEntry member(const std::string& key, const std::string& name) {
  return {.key = key + name, .text = {}, .score = 1, .member_at = static_cast<uint32_t>(key.size())};
}

TEST_F(RedisGroupTest, WhatWaitsTogetherIsOneScriptCall) {
  auto sink = connect();
  ASSERT_TRUE(claim(*sink, words_job()));
  for (int batch = 1; batch <= 3; ++batch) {
    redis_.command({"CONFIG", "RESETSTAT"});
    EXPECT_THAT(publish_together(*sink, words_job(), of_many_partitions(64, batch - 1, batch)), Each("done"));
    EXPECT_EQ(script_calls(), 2) << "the claim and the publications";
    RoundEnd end = of_partitions(64, round_end(1, 1, batch, {{"k0", batch}}));
    EXPECT_EQ(end_round(*sink, words_job(), end), "done") << "all of them are at the batch";
  }
  Hash expected;
  for (int p = 0; p < 64; p += 2) expected["k" + std::to_string(p)] = "3";
  EXPECT_EQ(redis_.hash("{words}:counts"), expected);
}

TEST_F(RedisGroupTest, WhoIsFencedOutOrHasLostSomethingHoldsNobodyElseUp) {
  auto sink = connect();
  auto younger = connect();
  for (const TableForm form : {TableForm::kHash, TableForm::kStrings, TableForm::kIndex}) {
    SinkIdentity identity = words_job();
    identity.layout[0].form = form;
    ASSERT_TRUE(claim(*sink, identity, true));
    ASSERT_EQ(publish(*younger, identity, publication(1, 2, 0, 1, {{"b", "20"}})), "done");
    Publication first = publication(0, 1, 0, 1, {{"a", "1"}});
    Publication fenced = publication(1, 1, 0, 1, {{"b", "1"}}, {"c"});
    const Publication lost = publication(2, 1, 1, 2, {{"d", "1"}});
    Publication last = publication(3, 1, 0, 1, {{"e", "1"}});
    if (form == TableForm::kIndex) {
      for (Publication* each : {&first, &fenced, &last}) each->entries.push_back(member(each->entries[0].key, "x"));
    }
    EXPECT_THAT(publish_together(*sink, identity, {first, fenced, lost, last}),
                ElementsAre("done", "fenced", "data lost", "done"));
    EXPECT_EQ(redis_.hash("{words}:counts"), (Hash{{"a", "1"}, {"b", "20"}, {"e", "1"}}));
    EXPECT_TRUE(fence_of(1).starts_with("1 2 1 1 ")) << fence_of(1);
    EXPECT_TRUE(fence_of(3).starts_with("1 1 1 1 ")) << fence_of(3);
    if (form == TableForm::kStrings) {
      EXPECT_EQ(redis_.command({"GET", "{words}:counts:b"}).front(), "20");
      EXPECT_EQ(redis_.command({"GET", "{words}:counts:e"}).front(), "1");
    }
    if (form == TableForm::kIndex) {
      EXPECT_TRUE(redis_.sorted_set("{words}:counts:b").empty());
      EXPECT_EQ(redis_.sorted_set("{words}:counts:e"), (Rank{{"x", 1}}));
    }
    ASSERT_TRUE(purge(*sink, identity));
  }
}

TEST_F(RedisGroupTest, WhereRedisRefusesOneTheOthersAreTaken) {
  auto sink = connect();
  SinkIdentity identity = words_job();
  identity.layout = {{.name = "index", .form = TableForm::kIndex, .rank = {}}};
  ASSERT_TRUE(claim(*sink, identity));
  redis_.command({"SET", "{words}:index:1", "no sorted set"});
  std::vector<Publication> all;
  for (int p = 0; p < 3; ++p) {
    all.push_back(publication(p, 1, 0, 1, {}));
    all.back().entries.push_back(member(std::to_string(p), "x"));
  }
  EXPECT_THAT(publish_together(*sink, identity, all), ElementsAre("done", "invalid", "done"));
  EXPECT_EQ(redis_.sorted_set("{words}:index:0"), (Rank{{"x", 1}}));
  EXPECT_EQ(redis_.sorted_set("{words}:index:2"), (Rank{{"x", 1}}));
  redis_.command({"DEL", "{words}:index:1"});
  EXPECT_THAT(publish_together(*sink, identity, all), Each("done"));
  EXPECT_EQ(redis_.sorted_set("{words}:index:1"), (Rank{{"x", 1}}));
}

TEST_F(RedisGroupTest, OnePartitionTwiceAndLargeOnesInBetweenKeepTheirOrder) {
  auto sink = connect();
  ASSERT_TRUE(claim(*sink, words_job()));
  Hash many;
  for (int key = 0; key < 1000; ++key) many["a" + std::to_string(key)] = "5";
  std::vector<Publication> all = {publication(1, 1, 0, 1, {{"x", "1"}}), publication(1, 1, 1, 2, {{"x", "2"}}),
                                  publication(0, 1, 0, 1, many), publication(0, 1, 1, 2, {{"a0", "6"}}),
                                  full(publication(2, 1, 0, 1, {{"z", "1"}}))};
  EXPECT_THAT(publish_together(*sink, words_job(), all), Each("done"));
  Hash expected = many;
  expected["a0"] = "6";
  expected["x"] = "2";
  expected["z"] = "1";
  EXPECT_EQ(redis_.hash("{words}:counts"), expected);
  EXPECT_TRUE(fence_of(0).starts_with("1 1 2 2 ")) << fence_of(0);
}

// `entries` keys of one letter: those of a partition and batch.
Publication large(int partition, int since, int batch, int entries) {
  Hash values;
  const std::string letter(1, static_cast<char>('a' + partition));
  for (int key = 0; key < entries; ++key) values[letter + std::to_string(key)] = std::to_string(batch);
  return publication(partition, 1, since, batch, values);
}

TEST_F(RedisGroupTest, LargeOnesShareCallsToo) {
  auto sink = connect();
  ASSERT_TRUE(claim(*sink, words_job()));
  constexpr int kPartitions = 20;
  constexpr int kEntries = 130;
  for (int batch = 1; batch <= 2; ++batch) {
    std::vector<Publication> all;
    for (int p = 0; p < kPartitions; ++p) all.push_back(large(p, batch - 1, batch, kEntries));
    redis_.command({"CONFIG", "RESETSTAT"});
    EXPECT_THAT(publish_together(*sink, words_job(), all), Each("done"));
    EXPECT_EQ(script_calls(), 1 + kPartitions * kEntries / 100) << "the claim, and calls of 100 entries";
    EXPECT_EQ(redis_.hash("{words}:counts").size(), kPartitions * kEntries);
    EXPECT_THAT(redis_.hash("{words}:counts"), Each(testing::Pair(testing::_, std::to_string(batch))));
    EXPECT_EQ(end_round(*sink, words_job(), of_partitions(kPartitions, round_end(1, 1, batch, {}))), "done");
  }
}

TEST_F(RedisGroupTest, ALargeOneThatIsRefusedIsNotWrittenInPartAndHoldsNobodyElseUp) {
  auto sink = connect();
  auto younger = connect();
  ASSERT_TRUE(claim(*sink, words_job()));
  ASSERT_EQ(publish(*younger, words_job(), publication(1, 2, 0, 1, {{"b0", "20"}})), "done");
  EXPECT_THAT(publish_together(*sink, words_job(),
                               {large(0, 0, 1, 250), large(1, 0, 1, 250), large(2, 1, 2, 250), large(3, 0, 1, 250)}),
              ElementsAre("done", "fenced", "data lost", "done"));
  Hash expected{{"b0", "20"}};
  for (int key = 0; key < 250; ++key) expected["a" + std::to_string(key)] = expected["d" + std::to_string(key)] = "1";
  EXPECT_EQ(redis_.hash("{words}:counts"), expected);
}

TEST_F(RedisGroupTest, WhereRedisRefusesACallOfALargeOneTheOthersAreTaken) {
  auto sink = connect();
  SinkIdentity identity = words_job();
  identity.layout[0].form = TableForm::kIndex;
  ASSERT_TRUE(claim(*sink, identity));
  std::vector<Publication> all;
  for (int p = 0; p < 3; ++p) {
    all.push_back(large(p, 0, 1, 0));
    for (int name = 0; name < 250; ++name) {
      all.back().entries.push_back(member(std::to_string(p) + "-" + std::to_string(name), "x"));
    }
  }
  redis_.command({"SET", "{words}:counts:1-120", "no sorted set"});
  EXPECT_THAT(publish_together(*sink, identity, all), ElementsAre("done", "invalid", "done"));
  EXPECT_TRUE(fence_of(0).starts_with("1 1 1 1 ")) << fence_of(0);
  EXPECT_TRUE(fence_of(1).starts_with("1 1 1 0 ")) << "open: " << fence_of(1);
  EXPECT_TRUE(fence_of(2).starts_with("1 1 1 1 ")) << fence_of(2);
  redis_.command({"DEL", "{words}:counts:1-120"});
  EXPECT_THAT(publish_together(*sink, identity, all), Each("done"));
  for (const std::string key : {"0-0", "1-120", "1-249", "2-249"}) {
    EXPECT_EQ(redis_.sorted_set("{words}:counts:" + key), (Rank{{"x", 1}})) << key;
  }
}

TEST_F(RedisGroupTest, KeysOfAnotherJobAreSaidForEach) {
  auto sink = connect();
  ASSERT_TRUE(claim(*connect(), words_job(8)));
  EXPECT_THAT(publish_together(*sink, words_job(7), of_many_partitions(3, 0, 1)), Each("exists"));
  EXPECT_TRUE(redis_.hash("{words}:counts").empty());
}

TEST_F(RedisGroupTest, AConnectionCutInTheMiddleLosesNothing) {
  auto sink = connect();
  ASSERT_TRUE(claim(*sink, words_job()));
  constexpr int kPartitions = 600;  // several calls under way
  for (int batch = 1; batch <= 10; ++batch) {
    const std::vector<Publication> all = of_many_partitions(kPartitions, batch - 1, batch);
    int cuts = 0;
    do {
      ask(*sink, words_job(), all);
      ASSERT_TRUE(loop_.run_until([&] {
        if (++cuts <= 20) redis_.command({"CLIENT", "KILL", "TYPE", "normal"});
        return answered_ == all.size();
      }));
    } while (std::ranges::count(outcomes_, "done") != kPartitions);
    EXPECT_EQ(redis_.hash("{words}:counts").size(), kPartitions / 2);
    EXPECT_EQ(end_round(*sink, words_job(), of_partitions(kPartitions, round_end(1, 1, batch, {}))), "done");
  }
  EXPECT_THAT(redis_.hash("{words}:counts"), Each(testing::Pair(testing::_, "10")));
}

}  // namespace
}  // namespace millrace
