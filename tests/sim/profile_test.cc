// The profile of a job's batches: whatever is slow, it is what the profile names, and nothing else.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"

namespace millrace {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

class Profile : public ::testing::Test {
 protected:
  Profile() { FLAGS_minloglevel = 3; }

  // Two workers and lines of now every few milliseconds; a checkpoint every 50 ms.
  void run(SimCluster& cluster) {
    cluster.metadata_disk().timing.latency = [] { return Duration(microseconds(100)); };
    cluster.checkpoint_disk().timing.latency = [] { return Duration(microseconds(100)); };
    cluster.sink().timing.latency = [] { return Duration(microseconds(100)); };
    cluster.start();
    cluster.submit("job", "word_count");
    cluster.world().run_for(milliseconds(300));
  }
  static void feed(SimCluster& cluster) {
    for (int round = 0; round < 200; ++round) {
      const int64_t now_ms = cluster.world().clock().wall_now().unix_ms;
      for (const LogPartition partition : cluster.topic().ids()) {
        for (int line = 0; line < 10; ++line) {
          cluster.topic().append(partition, {now_ms, std::nullopt, "w" + std::to_string((round + line) % 20)});
        }
      }
      cluster.world().run_for(milliseconds(5));
    }
    cluster.world().run_for(milliseconds(500));
  }
  static api::BatchProfiles profiles(SimCluster& cluster) {
    return cluster.master()->find_job("job")->batches(BatchProfiles::kKept, BatchId(0));
  }
  // Of each step what it usually takes, in microseconds: the median over the batches with records that have it. What
  // holds no batch up counts whole.
  static std::map<std::string, int64_t> usual(SimCluster& cluster) {
    std::map<std::string, std::vector<int64_t>> times;
    for (const api::BatchProfile& batch : profiles(cluster).batches) {
      if (batch.records == 0) continue;
      for (const api::BatchStep& step : batch.steps) {
        const bool beside = step.name == "checkpoint" || step.name == "publish";
        times[step.name].push_back(step.name == "fetch" ? step.lane_most_us
                                   : beside             ? step.end_us - step.begin_us
                                                        : step.held_us);
      }
    }
    std::map<std::string, int64_t> medians;
    for (auto& [name, all] : times) {
      std::ranges::sort(all);
      medians[name] = all[all.size() / 2];
    }
    return medians;
  }
  // It takes at least so long, and everything else, but for what goes the same way, less than half of it.
  static void expect_blamed(SimCluster& cluster, const std::string& name, Duration least,
                            const std::string& like = "") {
    const auto times = usual(cluster);
    for (const auto& [step, time_us] : times) {
      if (step == name) {
        EXPECT_GE(time_us, to_us(least)) << step;
      } else if (step != like) {
        EXPECT_LT(time_us, to_us(least) / 2) << step << " is blamed for " << name;
      }
    }
    EXPECT_TRUE(times.contains(name));
  }

  const SimClusterOptions quiet_{.faults = SimFaults::none()};
};

TEST_F(Profile, what_is_quick_is_quick_in_each_step_and_all_that_holds_a_batch_sums_to_its_time) {
  SimCluster cluster(1, quiet_);
  run(cluster);
  feed(cluster);
  const auto times = usual(cluster);
  for (const char* step : {"wait", "fetch", "map", "shuffle", "commit", "reduce", "report", "checkpoint", "publish"}) {
    ASSERT_TRUE(times.contains(step)) << step;
    EXPECT_LT(times.at(step), 4000) << step;
  }
  int64_t records = 0;
  int64_t before = 0;
  for (const api::BatchProfile& batch : profiles(cluster).batches) {
    if (before != 0) {
      EXPECT_EQ(batch.batch, before + 1);
    }
    before = batch.batch;
    records += batch.records;
    int64_t held_us = 0;
    for (const api::BatchStep& step : batch.steps) held_us += step.held_us;
    EXPECT_EQ(held_us, batch.applied_us);
    EXPECT_EQ(batch.bytes > 0, batch.records > 0);
    if (batch.records == 0) continue;
    EXPECT_GT(batch.published_by, 0) << batch.batch;
    EXPECT_LE(batch.newest_ms, batch.time_ms);
    EXPECT_GE(batch.newest_ms, batch.time_ms - 100);
  }
  EXPECT_EQ(records, 200 * 3 * 10);
}

TEST_F(Profile, a_slow_log_is_fetch) {
  SimClusterOptions options = quiet_;
  options.log_latency = milliseconds(40);
  SimCluster cluster(1, options);
  run(cluster);
  feed(cluster);
  expect_blamed(cluster, "fetch", milliseconds(25));
}

TEST_F(Profile, an_idle_log_is_no_slow_one) {
  SimCluster cluster(1, quiet_);
  run(cluster);
  for (int round = 0; round < 20; ++round) {
    cluster.topic().append(LogPartition(0), {cluster.world().clock().wall_now().unix_ms, std::nullopt, "now"});
    cluster.world().run_for(milliseconds(100));
  }
  EXPECT_LE(usual(cluster).at("fetch"), 3000);
}

TEST_F(Profile, a_slow_lane_is_map_and_is_named) {
  SimCluster cluster(1, quiet_);
  run(cluster);
  const api::ExecutorSummary chosen = cluster.master()->find_job("job")->describe().executors.at(1);
  cluster.world().slowness().task = [name = "executor-" + chosen.process](const SimLoop& loop) {
    return loop.name() == "lane-0" && loop.process().name() == name ? Duration(milliseconds(3)) : Duration();
  };
  const int64_t from = profiles(cluster).as_of.batch;
  feed(cluster);
  const auto times = usual(cluster);
  for (const char* other : {"fetch", "shuffle", "commit", "reduce", "report", "publish"}) {
    EXPECT_GT(times.at("map"), 2 * times.at(other)) << other;
  }
  std::map<std::string, int> slowest;
  for (const api::BatchProfile& batch : profiles(cluster).batches) {
    for (const api::BatchStep& step : batch.steps) {
      if (step.name != "map" || batch.batch <= from) continue;
      ++slowest[step.slowest];
      EXPECT_LE(step.lane_p50_us, step.lane_most_us);
    }
  }
  const auto named = std::ranges::max_element(slowest, {}, [](const auto& entry) { return entry.second; });
  EXPECT_EQ(named->first, chosen.worker + " lane 0");
  int all = 0;
  for (const auto& [lane, times_named] : slowest) all += times_named;
  EXPECT_GT(named->second * 10, all * 9) << named->first;
}

TEST_F(Profile, slow_links_between_executors_are_shuffle) {
  SimCluster cluster(1, quiet_);
  run(cluster);
  cluster.world().slowness().frame = [](const std::string& from, const std::string& to) {
    return from.starts_with("executor-") && to.starts_with("executor-") ? Duration(milliseconds(30)) : Duration();
  };
  feed(cluster);
  expect_blamed(cluster, "shuffle", milliseconds(20), "publish");  // which has the highest keys of all executors
}

TEST_F(Profile, slow_links_to_the_master_are_wait_and_report) {
  SimCluster cluster(1, quiet_);
  run(cluster);
  cluster.world().slowness().frame = [](const std::string& from, const std::string& to) {
    return from == "master" || to == "master" ? Duration(milliseconds(20)) : Duration();
  };
  feed(cluster);
  const auto times = usual(cluster);
  EXPECT_GE(times.at("wait"), 15'000);
  EXPECT_GE(times.at("report"), 15'000);
  for (const char* other : {"map", "shuffle"}) EXPECT_LT(times.at(other), 5000) << other;
}

TEST_F(Profile, a_slow_batch_log_is_commit) {
  SimCluster cluster(1, quiet_);
  run(cluster);
  cluster.metadata_disk().timing.latency = [] { return Duration(milliseconds(25)); };
  feed(cluster);
  expect_blamed(cluster, "commit", milliseconds(20), "checkpoint");  // whose reference is durable there
}

TEST_F(Profile, a_slow_checkpoint_store_is_checkpoint) {
  SimCluster cluster(1, quiet_);
  run(cluster);
  cluster.checkpoint_disk().timing.latency = [] { return Duration(milliseconds(60)); };
  feed(cluster);
  expect_blamed(cluster, "checkpoint", milliseconds(60));
}

TEST_F(Profile, a_slow_sink_is_publish) {
  SimCluster cluster(1, quiet_);
  run(cluster);
  cluster.sink().timing.latency = [] { return Duration(milliseconds(20)); };
  feed(cluster);
  expect_blamed(cluster, "publish", milliseconds(40));
}

TEST_F(Profile, what_changed_while_a_round_was_open_does_not_wait_for_a_tick_when_it_ends) {
  SimCluster cluster(1, quiet_);
  run(cluster);
  cluster.sink().timing.latency = [] { return Duration(milliseconds(7)); };
  feed(cluster);
  const auto batches = profiles(cluster).batches;
  const api::BatchProfile* last = nullptr;
  int rounds = 0;
  for (const api::BatchProfile& batch : batches) {
    if (batch.published_by != batch.batch) continue;
    if (last != nullptr && batch.records > 0 && batch.batch - last->batch > 1) {
      EXPECT_LE(batch.time_ms - last->time_ms - last->published_us / 1000, 2) << batch.batch;
      ++rounds;
    }
    last = &batch;
  }
  EXPECT_GT(rounds, 5);
}

TEST_F(Profile, begins_anew_with_a_master_and_goes_on_when_executors_die) {
  SimCluster cluster(1, quiet_);
  run(cluster);
  feed(cluster);
  const int64_t newest = profiles(cluster).as_of.batch;
  cluster.crash_master();
  cluster.start_master();
  const auto runs = [&] {
    const JobController* job = cluster.master()->find_job("job");
    return job != nullptr && job->phase() == JobController::Phase::kRunning;
  };
  ASSERT_TRUE(cluster.world().run_until(runs, seconds(20))) << cluster.state();
  EXPECT_TRUE(profiles(cluster).batches.empty());
  cluster.crash_worker(0);
  cluster.start_worker(0);
  cluster.append_lines(100);
  ASSERT_TRUE(cluster.finish()) << cluster.state();
  const auto after = profiles(cluster).batches;
  ASSERT_FALSE(after.empty());
  EXPECT_GT(after.front().batch, newest);
  EXPECT_EQ(cluster.oracle().breach(), "");
}

}  // namespace
}  // namespace millrace
