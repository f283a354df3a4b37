#include "master/batch_profiles.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace millrace {
namespace {

class BatchProfilesTest : public testing::Test {
 protected:
  static MonotonicTime at(int64_t us) { return MonotonicTime(std::chrono::hours(3) + std::chrono::microseconds(us)); }
  void cut(int64_t batch, int64_t us, int64_t records = 10) {
    wire::BatchRecord record;
    record.batch = batch;
    record.time_ms = 1000 * batch;
    for (int32_t partition = 0; partition < 2 && records > 0; ++partition) {
      auto& range = record.ranges.emplace_back();
      range.partition = partition;
      range.records = records / 2;
    }
    profiles.cut(record, 100 * records, at(us));
  }
  // As an executor tells it whose reports and plans are `way_us` on their way.
  void mapped(int64_t batch, int64_t cut_us, const std::string& worker, int32_t lane, int64_t begin_us, int64_t end_us,
              int64_t waited_us = 0, int64_t way_us = 0) {
    wire::MapResult result;
    wire::RangeTimes times;
    times.lane = lane;
    times.begin_us = begin_us;
    times.end_us = end_us;
    times.busy_us = (end_us - begin_us) / 2;
    times.fetched_us = -50;
    times.waited_us = waited_us;
    times.newest_ms = 77 + lane;
    times.told_us = end_us + 5;
    result.__set_times(times);
    profiles.mapped(BatchId(batch), worker, "partition " + std::to_string(lane), result,
                    at(cut_us + 2 * way_us + times.told_us));
  }
  void reduced(int64_t batch, int64_t cut_us, const std::string& worker, int32_t lane, int64_t arrived_us,
               int64_t begin_us, int64_t end_us) {
    wire::LaneTimes times;
    times.batch = batch;
    times.lane = lane;
    times.__set_arrived_us(arrived_us);
    times.begin_us = begin_us;
    times.end_us = end_us;
    times.busy_us = end_us - begin_us;
    times.told_us = end_us;
    profiles.reduced(worker, times, at(cut_us + times.told_us));
  }
  static wire::LaneFreeze lane_freeze(int32_t lane, int64_t busy_us, int64_t longest_us) {
    wire::LaneFreeze freeze;
    freeze.lane = lane;
    freeze.busy_us = busy_us;
    freeze.longest_us = longest_us;
    return freeze;
  }
  api::BatchProfile newest() { return profiles.newest(1).at(0); }
  static api::BatchStep step(const api::BatchProfile& profile, const std::string& name) {
    const auto found = std::ranges::find(profile.steps, name, &api::BatchStep::name);
    return found == profile.steps.end() ? api::BatchStep() : *found;
  }
  static std::string names(const api::BatchProfile& profile) {
    std::string text;
    for (const api::BatchStep& step : profile.steps) text += (text.empty() ? "" : " ") + step.name;
    return text;
  }

  BatchProfiles profiles;
};

TEST_F(BatchProfilesTest, AllBatchesAreSummedUpForMetrics) {
  for (const int64_t batch : {1, 2}) {
    cut(batch, 0);
    mapped(batch, 0, "ann:1", 0, 100, 300);
    profiles.durable(BatchId(batch), at(700));
    reduced(batch, 0, "ann:1", 0, 400, 800, 900);
  }
  profiles.applied(BatchId(2), at(1000));
  profiles.published(BatchId(2), at(3000));
  const BatchProfiles::Latencies& latencies = profiles.latencies();
  for (const LatencyHistogram* histogram :
       {&latencies.durable, &latencies.mapped, &latencies.applied, &latencies.published}) {
    EXPECT_EQ(histogram->collect().histogram.sample_count, 2U);
  }
  EXPECT_NEAR(latencies.applied.collect().histogram.sample_sum, 0.002, 1e-9);
  EXPECT_EQ(latencies.checkpoint.collect().histogram.sample_count, 0U);
  int64_t held_us = 0;
  for (const auto& [step, us] : profiles.held_us()) held_us += us;
  EXPECT_EQ(held_us, 2000);
  EXPECT_EQ(profiles.newest_record_ms(), 77);
}

TEST_F(BatchProfilesTest, WhatLanesTellBecomesStepsOfWhichEachTellsWhatItAloneHasHeldUp) {
  cut(1, 0);
  mapped(1, 0, "ann:1", 0, 100, 300, 30);
  mapped(1, 0, "ann:1", 1, 150, 900);
  mapped(1, 0, "bob:2", 0, 120, 400);
  profiles.durable(BatchId(1), at(700));
  reduced(1, 0, "ann:1", 0, 950, 1000, 1200);
  reduced(1, 0, "bob:2", 0, 1100, 1150, 1650);
  profiles.applied(BatchId(1), at(1800));
  const api::BatchProfile profile = newest();
  EXPECT_EQ(names(profile), "wait fetch map shuffle commit reduce report");
  EXPECT_EQ(profile.records, 10);
  EXPECT_EQ(profile.bytes, 1000);
  EXPECT_EQ(profile.newest_ms, 78);
  const api::BatchStep map = step(profile, "map");
  EXPECT_EQ(map.begin_us, 100);
  EXPECT_EQ(map.end_us, 900);
  EXPECT_EQ(map.busy_us, 100 + 375 + 140);
  EXPECT_EQ(map.lanes, 3);
  EXPECT_EQ(map.lane_p50_us, 280);
  EXPECT_EQ(map.lane_most_us, 750);
  EXPECT_EQ(map.slowest, "ann:1 lane 1");
  EXPECT_EQ(step(profile, "fetch").lane_most_us, 30);
  EXPECT_EQ(step(profile, "fetch").slowest, "partition 0");
  EXPECT_EQ(step(profile, "fetch").end_us, -50);
  EXPECT_EQ(step(profile, "shuffle").begin_us, 300) << "the first section goes when the first range is mapped";
  EXPECT_EQ(step(profile, "shuffle").end_us, 1100);
  EXPECT_EQ(step(profile, "reduce").slowest, "bob:2 lane 0");
  std::map<std::string, int64_t> held;
  for (const api::BatchStep& each : profile.steps) held[each.name] = each.held_us;
  EXPECT_EQ(held, (std::map<std::string, int64_t>{{"wait", 100},
                                                  {"fetch", 0},
                                                  {"map", 800},
                                                  {"shuffle", 200},
                                                  {"commit", 0},
                                                  {"reduce", 550},
                                                  {"report", 150}}));
}

TEST_F(BatchProfilesTest, RangesOfOneLaneAreOneAndHalfOfTheWayStandsBefore) {
  cut(1, 0);
  mapped(1, 0, "ann:1", 0, 0, 100, 0, 40);
  mapped(1, 0, "ann:1", 0, 100, 300, 0, 40);
  profiles.applied(BatchId(1), at(500));
  const api::BatchStep map = step(newest(), "map");
  EXPECT_EQ(map.lanes, 1);
  EXPECT_EQ(map.begin_us, 40);
  EXPECT_EQ(map.end_us, 340);
  EXPECT_EQ(map.busy_us, 150);
  EXPECT_EQ(step(newest(), "wait").held_us, 40);
}

TEST_F(BatchProfilesTest, WhatHoldsABatchSumsToItsTimeWhateverIsTold) {
  cut(1, 0);
  mapped(1, 0, "ann:1", 0, 900, 5000);  // beyond the end, by a clock that runs away
  profiles.durable(BatchId(1), at(10));
  reduced(1, 0, "ann:1", 0, -20, -10, 300);
  profiles.applied(BatchId(1), at(1000));
  int64_t held = 0;
  for (const api::BatchStep& each : newest().steps) {
    held += each.held_us;
    EXPECT_LE(each.begin_us, each.end_us) << each.name;
    EXPECT_LE(each.end_us, 1000) << each.name;
  }
  EXPECT_EQ(held, 1000);
}

TEST_F(BatchProfilesTest, ABatchWithoutRecordsIsCommittedReducedAndReported) {
  cut(1, 0, 0);
  profiles.durable(BatchId(1), at(10));
  profiles.applied(BatchId(1), at(50));
  EXPECT_EQ(names(newest()), "commit report");
  EXPECT_EQ(step(newest(), "report").held_us, 40);
}

TEST_F(BatchProfilesTest, APublicationCoversTheBatchesSinceTheOneBefore) {
  for (int64_t batch = 1; batch <= 4; ++batch) {
    cut(batch, 1000 * batch);
    reduced(batch, 1000 * batch, "ann:1", 0, 0, 100, 200);
    profiles.applied(BatchId(batch), at(1000 * batch + 250));
  }
  profiles.published(BatchId(1), at(2500));
  profiles.published(BatchId(3), at(4700));
  const auto all = profiles.newest(10);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].published_by, 1);
  EXPECT_EQ(all[1].published_by, 3);
  EXPECT_EQ(all[1].published_us, 2700);
  EXPECT_EQ(step(all[1], "publish").begin_us, 1200) << "when batch 3 was applied";
  EXPECT_EQ(step(all[2], "publish").begin_us, 200);
  EXPECT_EQ(step(all[2], "publish").end_us, 1700);
  EXPECT_EQ(all[3].published_by, 0);
}

TEST_F(BatchProfilesTest, ACheckpointTellsItsPauseAndWhenItWasComplete) {
  cut(1, 0);
  reduced(1, 0, "ann:1", 0, 0, 100, 400);
  reduced(1, 0, "ann:1", 1, 0, 100, 300);
  profiles.applied(BatchId(1), at(450));
  profiles.froze(BatchId(1), "ann:1", {lane_freeze(0, 60, 9), lane_freeze(1, 20, 10)});
  EXPECT_EQ(names(newest()), "commit reduce report");
  profiles.published(BatchId(1), at(700));
  profiles.checkpointed(BatchId(1), at(9000));
  EXPECT_EQ(names(newest()), "commit reduce report checkpoint publish");
  const api::BatchStep checkpoint = step(newest(), "checkpoint");
  EXPECT_EQ(checkpoint.begin_us, 400);
  EXPECT_EQ(checkpoint.end_us, 9000);
  EXPECT_EQ(checkpoint.busy_us, 80);
  EXPECT_EQ(checkpoint.lane_most_us, 10);
  EXPECT_EQ(checkpoint.slowest, "ann:1 lane 1");
}

TEST_F(BatchProfilesTest, SoManyAreKeptAndPagesEndBeforeABatch) {
  const auto kept = static_cast<int64_t>(BatchProfiles::kKept);
  for (int64_t batch = 5; batch < 5 + kept + 7; ++batch) cut(batch, batch);
  EXPECT_TRUE(profiles.newest(10).empty()) << "none is applied";
  profiles.applied(BatchId(5 + kept + 3), at(5000));
  const auto all = profiles.newest(BatchProfiles::kKept);
  EXPECT_EQ(all.front().batch, 12);
  EXPECT_EQ(all.back().batch, 5 + kept + 3);
  const auto page = profiles.newest(3, BatchId(20));
  ASSERT_EQ(page.size(), 3u);
  EXPECT_EQ(page.front().batch, 17);
  EXPECT_EQ(page.back().batch, 19);
  EXPECT_TRUE(profiles.newest(3, BatchId(12)).empty());
}

TEST_F(BatchProfilesTest, WhatIsTooLateOrOfNoBatchOfThisMasterIsIgnored) {
  profiles.durable(BatchId(4), at(0));
  profiles.applied(BatchId(4), at(0));
  profiles.published(BatchId(4), at(0));
  cut(5, 0);
  profiles.applied(BatchId(9), at(10));
  EXPECT_TRUE(profiles.newest(9).empty());
  profiles.applied(BatchId(5), at(10));
  const api::BatchProfile before = newest();
  mapped(5, 0, "ann:1", 0, 1, 2);
  reduced(5, 0, "ann:1", 0, 1, 2, 3);
  profiles.checkpointed(BatchId(4), at(20));
  EXPECT_TRUE(newest() == before);
}

}  // namespace
}  // namespace millrace
