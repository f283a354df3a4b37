#include "worker/rank_gather.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>

#include "worker/rank_book.h"

namespace millrace {
namespace {

SinkEntry entry(const std::string& key, double score) {
  return {key, std::to_string(score), score, false};
}

RankShare share(int64_t batch, std::vector<int> partitions, std::vector<SinkEntry> entries) {
  RankShare result{BatchId(batch), {}, std::move(entries)};
  for (int partition : partitions) result.partitions.push_back(StatePartition(partition));
  return result;
}

TEST(RankGather, TheHighestOfRanksOneBehindTheOtherAreThoseOfAllOfThem) {
  std::mt19937_64 random(7);
  for (int ranks = 0; ranks < 6; ++ranks) {
    for (const size_t n : {0, 1, 20, 1000}) {
      std::vector<SinkEntry> entries;
      std::map<std::pair<double, std::string>, std::string> expected;  // by score, descending, and key
      for (int rank = 0; rank < ranks; ++rank) {
        std::vector<SinkEntry> one;
        for (int i = 0; i < 30; ++i) {
          const auto score = static_cast<double>(random() % 10);
          // Some keys are there repeatedly, with the same score; some are too long to lie within their string.
          const std::string key =
              std::to_string(random() % 20) + (score > 5 ? std::string(40, 'x') : "") + std::to_string(score);
          one.push_back(entry(key, score));
          expected[{-score, key}] = one.back().text;
        }
        one = highest_entries(std::move(one), one.size());
        entries.insert(entries.end(), one.begin(), one.end());
      }
      entries = highest_entries(std::move(entries), n);
      ASSERT_EQ(entries.size(), std::min(n, expected.size()));
      for (auto next = expected.begin(); const SinkEntry& each : entries) {
        EXPECT_EQ(std::pair(-each.score, each.key), next->first);
        EXPECT_EQ(each.text, next->second);
        ++next;
      }
    }
  }
}

TEST(RankGather, MergesOnceAllPartitionsAreCovered) {
  RankGather gather;
  const std::set<StatePartition> all = {StatePartition(0), StatePartition(1), StatePartition(2)};
  EXPECT_FALSE(gather.add(share(1, {0}, {entry("a", 1), entry("b", 5)}), all, 2));
  EXPECT_FALSE(gather.add(share(1, {1}, {entry("c", 3)}), all, 2));
  const auto merged = gather.add(share(1, {2}, {}), all, 2);
  ASSERT_TRUE(merged);
  ASSERT_EQ(merged->entries.size(), 2u);
  EXPECT_EQ(merged->entries[0].key, "b");
  EXPECT_EQ(merged->entries[1].key, "c");
}

TEST(RankGather, TheSameKeyFromTwoOwnersCountsOnce) {
  RankGather gather;
  const std::set<StatePartition> all = {StatePartition(0), StatePartition(1)};
  EXPECT_FALSE(gather.add(share(1, {0}, {entry("a", 1)}), all, 3));
  const auto merged = gather.add(share(1, {0, 1}, {entry("a", 1), entry("b", 1)}), all, 3);
  ASSERT_TRUE(merged);
  ASSERT_EQ(merged->entries.size(), 2u);
  EXPECT_EQ(merged->entries[0].key, "a");  // equal scores: by bytes
}

TEST(RankGather, TheFloorIsAScoreThatEnoughDistinctKeysHave) {
  RankGather gather;
  const std::set<StatePartition> all = {StatePartition(0), StatePartition(1), StatePartition(2)};
  EXPECT_FALSE(gather.floor(BatchId(1)));
  EXPECT_FALSE(gather.add(share(1, {0}, {entry("a", 9), entry("a", 9)}), all, 2));
  EXPECT_FALSE(gather.floor(BatchId(1)));  // one key
  EXPECT_FALSE(gather.add(share(1, {0}, {entry("b", 5), entry("c", 3)}), all, 2));
  EXPECT_EQ(gather.floor(BatchId(1)), 5);
  EXPECT_FALSE(gather.floor(BatchId(2)));
  EXPECT_FALSE(gather.add(share(1, {1}, {entry("d", 7), entry("e", 6)}), all, 2));
  EXPECT_EQ(gather.floor(BatchId(1)), 7);
  const auto merged = gather.add(share(1, {2}, {entry("f", 8)}), all, 2);
  ASSERT_TRUE(merged);
  EXPECT_EQ(merged->entries[0].key, "a");
  EXPECT_EQ(merged->entries[1].key, "f");
}

TEST(RankGather, BatchesThatNeverCompleteAreForgotten) {
  RankGather gather;
  const std::set<StatePartition> all = {StatePartition(0), StatePartition(1)};
  for (int64_t batch = 1; batch < 1000; ++batch) EXPECT_FALSE(gather.add(share(batch, {0}, {}), all, 3));
  EXPECT_FALSE(gather.add(share(1, {1}, {}), all, 3));
  EXPECT_TRUE(gather.add(share(999, {1}, {}), all, 3));
}

TEST(RankBook, KeepsTheRankOfTheOpenRoundBesideTheNewest) {
  RankBook book(2, 1);
  book.expect_round(BatchId(1));
  EXPECT_TRUE(book.add(share(1, {0}, {entry("old", 1)})));
  EXPECT_TRUE(book.add(share(2, {0}, {entry("new", 1)})));
  ASSERT_NE(book.newest(), nullptr);
  EXPECT_EQ(book.newest()->batch, BatchId(2));
  ASSERT_NE(book.of(BatchId(1)), nullptr);
  EXPECT_EQ(book.of(BatchId(1))->entries[0].key, "old");
  book.forget_beyond(BatchId(1));
  EXPECT_EQ(book.newest(), nullptr);
}

}  // namespace
}  // namespace millrace
