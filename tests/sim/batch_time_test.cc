// Jobs that need time: their ticks come also without records, what time changes is published and kept in checkpoints,
// and a job that nothing changes comes to rest. The Oracle checks each batch's time besides.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/wire/codec.h"
#include "tests/sim/passing.h"
#include "tests/sim/scenarios.h"

namespace millrace {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class NeedingTime : public PassingJob {
 public:
  explicit NeedingTime(std::shared_ptr<const Job> real) : PassingJob(std::move(real), nullptr) {}
  [[nodiscard]] bool needs_time() const override { return true; }
};

// Makes jobs need time; and tells the master that the newest tick changed something, when it is told to.
struct TimePlant : Plant {
  std::shared_ptr<const Job> job(std::shared_ptr<const Job> real) override {
    return std::make_shared<NeedingTime>(std::move(real));
  }
  bool message(wire::Envelope& envelope) override {
    if (!envelope.body.__isset.applied || !changes) return false;
    for (const wire::OwnedPartition& owned : envelope.body.applied.partitions) {
      changed = std::max(changed, owned.applied);
    }
    changes = false;
    envelope.body.applied.changed = changed;
    return true;
  }
  bool changes = false;
  int64_t changed = 0;  // batch
};

class BatchTime : public ::testing::Test {
 protected:
  BatchTime() { FLAGS_minloglevel = 3; }

  static JobController& job_of(SimCluster& cluster) { return *cluster.master()->find_job("job"); }
  static void begin(SimCluster& cluster) {
    cluster.start();
    cluster.submit("job", "word_count");
    ASSERT_TRUE(cluster.world().run_until([&] { return newest(cluster) > 0; }, seconds(10)));
  }
  static void restart_master(SimCluster& cluster) {
    cluster.start_master();
    ASSERT_TRUE(cluster.world().run_until([&] { return cluster.master()->started(); }, seconds(10)));
  }
  static std::vector<wire::BatchRecord> batches(SimCluster& cluster) {
    return cluster.master()->store().read_batches(job_of(cluster).id(), BatchId(0)).value();
  }
  static int64_t newest(SimCluster& cluster) {
    const auto all = batches(cluster);
    return all.empty() ? 0 : all.back().batch;
  }
  static void stop(SimCluster& cluster) {
    cluster.ask_to_stop("job");
    const auto stopped = [&] { return job_of(cluster).phase() == JobController::Phase::kStopped; };
    ASSERT_TRUE(cluster.world().run_until(stopped, seconds(10))) << cluster.state();
    ASSERT_EQ(job_of(cluster).summary().problem, "");
  }
  [[nodiscard]] bool run_until_published(SimCluster& cluster, int64_t batch) {
    return cluster.world().run_until([&] { return job_of(cluster).summary().published >= batch; }, seconds(2));
  }

  std::shared_ptr<TimePlant> plant_ = std::make_shared<TimePlant>();
  // No checkpoint in between, so that the batch log keeps all.
  const SimClusterOptions quiet_{.checkpoint_interval_ms = 60'000, .faults = SimFaults::none(), .plant = plant_};
};

TEST_F(BatchTime, each_multiple_of_the_interval_is_a_batch_also_without_records) {
  SimCluster cluster(1, quiet_);
  begin(cluster);
  cluster.world().run_for(seconds(1));
  const auto all = batches(cluster);
  ASSERT_GE(all.size(), 99u);
  const wire::BatchRecord* before = nullptr;
  for (const wire::BatchRecord& batch : all) {
    if (!batch.tick) continue;  // a first publication
    EXPECT_EQ(batch.time_ms % 10, 0);
    if (before != nullptr) {
      EXPECT_EQ(batch.time_ms, before->time_ms + 10);
    }
    before = &batch;
  }
  ASSERT_NE(before, nullptr);
  EXPECT_LE(cluster.world().clock().wall_now().unix_ms - before->time_ms, 20);
}

TEST_F(BatchTime, a_job_that_needs_no_time_has_no_ticks) {
  SimClusterOptions options = quiet_;
  options.plant = nullptr;
  SimCluster cluster(1, options);
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.finish()) << cluster.state();
  cluster.world().run_for(seconds(1));
  const auto all = batches(cluster);
  EXPECT_LT(all.size(), 20u);
  EXPECT_TRUE(std::ranges::none_of(all, [](const wire::BatchRecord& batch) { return batch.tick; }));
}

TEST_F(BatchTime, a_job_that_nothing_changes_comes_to_rest) {
  SimClusterOptions options = quiet_;
  options.checkpoint_interval_ms = 50;
  options.max_uncheckpointed = 20'000;
  SimCluster cluster(1, options);
  begin(cluster);
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.finish()) << cluster.state();
  const SimCounts before = cluster.counts();
  cluster.world().run_for(seconds(21));
  const SimCounts after = cluster.counts();
  EXPECT_LE(after.rounds - before.rounds, 5u);  // to notice a sink that lost its data
  EXPECT_GE(after.checkpoints - before.checkpoints, 1u) << "the batch log grows for ever";
  EXPECT_LE(after.checkpoints - before.checkpoints, 3u);
  EXPECT_LT(batches(cluster).size(), 2100u);
}

TEST_F(BatchTime, what_time_alone_changes_is_published_at_once_and_kept_in_a_checkpoint) {
  SimClusterOptions options = quiet_;
  options.batch_interval_ms = 1000;
  options.checkpoint_interval_ms = 3000;
  SimCluster cluster(1, options);
  begin(cluster);
  ASSERT_TRUE(cluster.finish()) << cluster.state();
  cluster.world().run_for(seconds(4));
  const int64_t checkpoint = job_of(cluster).describe().checkpoint_batch;
  plant_->changes = true;
  ASSERT_TRUE(cluster.world().run_until([&] { return plant_->changed > 0 && !plant_->changes; }, seconds(2)));
  // Long before the next tick.
  const MonotonicTime begun = cluster.world().clock().now();
  ASSERT_TRUE(run_until_published(cluster, plant_->changed)) << cluster.state();
  EXPECT_LT(cluster.world().clock().now() - begun, milliseconds(200));
  const auto kept = [&] { return job_of(cluster).describe().checkpoint_batch >= plant_->changed; };
  EXPECT_LT(checkpoint, plant_->changed);
  EXPECT_TRUE(cluster.world().run_until(kept, seconds(6))) << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST_F(BatchTime, ticks_that_are_passed_over_leave_a_gap_and_nothing_else) {
  SimCluster cluster(1, quiet_);
  begin(cluster);
  cluster.world().run_for(milliseconds(100));
  cluster.freeze_executor(0, milliseconds(400));
  cluster.world().run_for(milliseconds(800));
  int64_t longest = 0;
  int64_t gaps = 0;
  int64_t before = 0;
  for (const wire::BatchRecord& batch : batches(cluster)) {
    if (!batch.tick) continue;
    if (before != 0 && batch.time_ms != before + 10) ++gaps;
    if (before != 0) longest = std::max(longest, batch.time_ms - before);
    before = batch.time_ms;
  }
  EXPECT_LE(gaps, 2);
  EXPECT_GE(longest, 300);
  EXPECT_LE(cluster.world().clock().wall_now().unix_ms - before, 20);
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

// Batches take longer than the interval: no tick ever finds room in its time.
TEST_F(BatchTime, a_job_that_cannot_keep_up_has_ticks_all_the_same) {
  SimClusterOptions options = quiet_;
  options.batch_interval_ms = 1;
  SimCluster cluster(1, options);
  cluster.metadata_disk().timing.latency = [] { return Duration(milliseconds(20)); };
  begin(cluster);
  const int64_t first = newest(cluster);
  for (int i = 0; i < 50; ++i) {
    cluster.append_lines(20);
    cluster.world().run_for(milliseconds(20));
  }
  const auto all = batches(cluster);
  const auto ticks = std::ranges::count_if(all, [&](const auto& batch) { return batch.batch > first && batch.tick; });
  EXPECT_LT(all.size(), 500u) << "it keeps up";
  EXPECT_GE(ticks, 20);
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST_F(BatchTime, goes_on_through_a_new_master_and_a_wall_clock_that_was_set_back) {
  SimCluster cluster(1, quiet_);
  begin(cluster);
  cluster.world().run_for(milliseconds(300));
  cluster.world().skew_wall(-hours(1));  // not read while a master lives
  cluster.world().run_for(milliseconds(300));
  const wire::BatchRecord last = batches(cluster).back();
  EXPECT_LE(cluster.world().clock().wall_now().unix_ms + 3'600'000 - last.time_ms, 20);
  cluster.crash_master();
  restart_master(cluster);
  ASSERT_TRUE(cluster.world().run_until([&] { return newest(cluster) > last.batch + 50; }, seconds(10)));
  const auto all = batches(cluster);
  const auto next = std::ranges::find(all, last.batch + 1, &wire::BatchRecord::batch);
  ASSERT_NE(next, all.end());
  EXPECT_GT(next->time_ms, last.time_ms);
  EXPECT_LT(next->time_ms, last.time_ms + 5000);
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST_F(BatchTime, a_checkpoint_keeps_the_newest_tick) {
  SimClusterOptions options = quiet_;
  options.checkpoint_interval_ms = 50;
  SimCluster cluster(1, options);
  begin(cluster);
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.finish()) << cluster.state();
  const auto record = decode_record<wire::JobRecord>(cluster.metadata_disk().values.at("job/job")).value();
  const auto manifest =
      decode_record<wire::Manifest>(cluster.checkpoint_disk().files.at(record.checkpoints.back().name)).value();
  EXPECT_GT(manifest.tick_ms, 0);
  EXPECT_LE(manifest.time_ms - manifest.tick_ms, 10);
  // All batches that it covers are gone from the batch log but those of the one before.
  stop(cluster);
  cluster.world().skew_wall(-hours(1));
  cluster.ask_to_resume("job");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.finish()) << cluster.state();
  EXPECT_GT(batches(cluster).back().time_ms, manifest.tick_ms);
}

TEST_F(BatchTime, stands_still_while_a_job_stops_and_what_it_changed_is_published) {
  SimClusterOptions options = quiet_;
  options.batch_interval_ms = 100;
  SimCluster cluster(1, options);
  begin(cluster);
  ASSERT_TRUE(cluster.finish()) << cluster.state();
  plant_->changes = true;
  ASSERT_TRUE(cluster.world().run_until([&] { return !plant_->changes; }, seconds(2)));
  const int64_t asked = newest(cluster);
  stop(cluster);
  EXPECT_GE(job_of(cluster).summary().published, plant_->changed);
  EXPECT_GE(job_of(cluster).describe().checkpoint_batch, plant_->changed);
  for (const wire::BatchRecord& batch : batches(cluster)) {
    EXPECT_FALSE(batch.tick && batch.batch > asked) << batch.batch;
  }
  cluster.ask_to_resume("job");
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST_F(BatchTime, ticks_do_not_use_up_the_batches_that_may_wait_for_a_checkpoint) {
  SimClusterOptions options = quiet_;
  options.checkpoint_interval_ms = 1000;
  options.max_uncheckpointed = 200;
  SimCluster cluster(1, options);
  begin(cluster);
  cluster.checkpoint_disk().failure = [](auto, const std::string& name) {
    return std::optional<Error>(Error{ErrorCode::kIo, name + ": the disk is full"});
  };
  cluster.world().run_for(seconds(5));
  EXPECT_GT(newest(cluster), 90);
  EXPECT_LT(newest(cluster), 120);
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(5))) << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
  const int64_t before = newest(cluster);
  cluster.world().run_for(seconds(1));
  EXPECT_GT(newest(cluster), before + 90) << "they come again with the first checkpoint";
}

TEST_F(BatchTime, faults_change_nothing_of_it) {
  for (const char* name : {"everything_dies", "the_master_dies", "the_master_dies_while_jobs_are_killed",
                           "checkpoints_fail_for_a_while"}) {
    Scenario scenario = scenario_named(name);
    for (uint64_t seed = 1; seed <= 2; ++seed) {
      scenario.options.plant = std::make_shared<TimePlant>();
      EXPECT_EQ(run_scenario(scenario, seed).problem, "") << name << ", seed " << seed;
    }
  }
}

// --- event time: its scenarios are among all others; that the oracle notices what is wrong ---------------------------

void expect_noticed(const char* scenario_name, const std::function<std::shared_ptr<Plant>()>& make_plant) {
  FLAGS_minloglevel = 3;
  Scenario scenario = scenario_named(scenario_name);
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    scenario.options.plant = make_plant();
    if (!run_scenario(scenario, seed).problem.empty()) return;
  }
  ADD_FAILURE() << "nothing was noticed";
}

TEST(EventTimeBug, what_is_done_again_by_the_watermark_that_is_newest_then_is_noticed) {
  struct Newest : Plant {
    bool message(wire::Envelope& envelope) override {
      if (envelope.body.__isset.run_batch) {
        int64_t& told_ms = envelope.body.run_batch.watermark_ms;
        newest_ms = std::max(newest_ms, told_ms);
        return envelope.body.run_batch.replay && std::exchange(told_ms, newest_ms) != newest_ms;
      }
      if (!envelope.body.__isset.replay) return false;
      for (wire::ReplayTask& task : envelope.body.replay.tasks) task.watermark_ms = newest_ms;
      return true;
    }
    int64_t newest_ms = 0;
  };
  expect_noticed("event_windows_where_everything_dies", [] { return std::make_shared<Newest>(); });
}

TEST(EventTimeBug, a_window_that_is_closed_again_after_a_recovery_is_noticed) {
  // In a checkpoint a window, which is of the first state, ends with whether it was given.
  struct Forgetting : PassingTable {
    using PassingTable::PassingTable;
    Status restore(const StateRun::Entry& entry, bool unpublished) override {
      StateRun::Entry open = entry;
      std::string value(entry.value);
      if (!entry.removed && entry.key.front() == 0 && value.back() == 1) value.back() = 0;
      open.value = value;
      return real_->restore(open, unpublished);
    }
  };
  struct Forgets : Plant {
    std::shared_ptr<const Job> job(std::shared_ptr<const Job> real) override {
      return std::make_shared<PassingJob>(std::move(real), [](std::unique_ptr<StateTable> table) {
        return std::make_unique<Forgetting>(std::move(table));
      });
    }
  };
  expect_noticed("closed_windows_where_everything_dies", [] { return std::make_shared<Forgets>(); });
}

}  // namespace
}  // namespace millrace
