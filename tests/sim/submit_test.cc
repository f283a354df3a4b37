// What a submit is answered where its log is not ready, or unfit; and what one who wants to go back to a checkpoint.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/wire/codec.h"
#include "tests/sim/cluster.h"

namespace millrace {
namespace {

using std::chrono::seconds;

constexpr char kJob[] = "job";
constexpr char kType[] = "word_count";
constexpr Duration kSoon = seconds(5);

class SubmitTest : public testing::Test {
 protected:
  SubmitTest() {
    cluster_.start();
    cluster_.append_lines(10);
  }
  SimCluster cluster_{1, {.faults = SimFaults::none()}};
};

TEST_F(SubmitTest, waits_a_little_for_a_log_that_is_not_there_yet) {
  cluster_.topic().set_available(false);
  cluster_.world().after(seconds(1), [this] { cluster_.topic().set_available(true); });
  const auto submitted = cluster_.submit_once(kJob, kType);
  ASSERT_TRUE(submitted.has_value()) << submitted.error();
  EXPECT_TRUE(cluster_.finish()) << cluster_.state();
}

TEST_F(SubmitTest, is_refused_soon_where_the_log_stays_away_and_the_name_stays_free) {
  cluster_.topic().set_available(false);
  const Duration begin = cluster_.world().now();
  const auto refused = cluster_.submit_once(kJob, kType);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_LT(cluster_.world().now() - begin, kSoon);
  cluster_.topic().set_available(true);
  const auto again = cluster_.submit_once(kJob, kType);
  EXPECT_TRUE(again.has_value()) << again.error();
}

TEST_F(SubmitTest, is_refused_with_the_reason_where_the_log_is_unfit) {
  cluster_.topic().set_unfit("topic 'lines' is compacted; name another");
  const auto refused = cluster_.submit_once(kJob, kType);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_EQ(refused.error().message, "topic 'lines' is compacted; name another");
  cluster_.topic().set_unfit("");
  EXPECT_TRUE(cluster_.submit_once(kJob, kType).has_value());
}

TEST_F(SubmitTest, of_a_library_runs_the_code_in_it) {
  SimCluster cluster(1, {.libraries = true, .faults = SimFaults::none()});
  cluster.start();
  cluster.append_lines(10);
  const auto submitted = cluster.submit_once(kJob, kType);
  ASSERT_TRUE(submitted.has_value()) << submitted.error();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
  EXPECT_TRUE(std::ranges::any_of(cluster.checkpoint_disk().files,
                                  [](const auto& file) { return file.first.ends_with("/job.so"); }));
  cluster.kill_and_submit(kJob, true);
  EXPECT_TRUE(cluster.finish()) << cluster.state();  // nothing of the first one is left
}

TEST_F(SubmitTest, of_a_library_is_refused_where_the_master_takes_none) {
  SimCluster cluster(1, {.libraries = true, .allow_libraries = false, .faults = SimFaults::none()});
  cluster.start();
  const auto refused = cluster.submit_once(kJob, kType);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_NE(refused.error().message.find("--allow_job_libraries"), std::string::npos) << refused.error();
}

class GoingBack : public testing::Test {
 protected:
  GoingBack() { FLAGS_minloglevel = 3; }

  static JobController& job_of(SimCluster& cluster) { return *cluster.master()->find_job(kJob); }
  static wire::JobRecord durable_record(SimCluster& cluster) {
    return decode_record<wire::JobRecord>(cluster.metadata_disk().values.at("job/job")).value();
  }
  static void begin(SimCluster& cluster) {
    cluster.start();
    cluster.submit(kJob, kType);
  }
  static void start_master(SimCluster& cluster) {
    cluster.start_master();
    ASSERT_TRUE(cluster.world().run_until([&] { return cluster.master()->started(); }, seconds(10)));
  }
  static int64_t newest_checkpoint(SimCluster& cluster) { return job_of(cluster).describe().checkpoint_batch; }
  [[nodiscard]] static bool run_to_next_checkpoint(SimCluster& cluster) {
    const int64_t before = newest_checkpoint(cluster);
    cluster.append_lines(30);
    return cluster.world().run_until([&] { return newest_checkpoint(cluster) > before; }, seconds(10));
  }
  static void stop(SimCluster& cluster) {
    cluster.ask_to_stop(kJob);
    const auto stopped = [&] { return durable_record(cluster).state == wire::JobState::STOPPED; };
    ASSERT_TRUE(cluster.world().run_until(stopped, seconds(30))) << cluster.state();
  }
  // Stopped, with two checkpoints.
  void stop_with_two_checkpoints() {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(run_to_next_checkpoint(cluster_)) << cluster_.state();
    stop(cluster_);
    kept_ = durable_record(cluster_).checkpoints;
    ASSERT_EQ(kept_.size(), 2u);
  }
  // The job is what it was.
  void expect_refusal(int64_t batch, const std::string& why) {
    const auto refused = cluster_.resume_from(kJob, batch);
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message.find(why), std::string::npos) << refused.error();
    EXPECT_EQ(durable_record(cluster_).incarnation, 1);
    EXPECT_EQ(durable_record(cluster_).checkpoints, kept_);
  }

  SimCluster cluster_{1, {.faults = SimFaults::none()}};
  std::vector<wire::CheckpointRef> kept_;  // the older one, the newer one
};

TEST_F(GoingBack, makes_a_new_incarnation_and_leaves_no_file_of_what_was_given_up) {
  begin(cluster_);
  stop_with_two_checkpoints();
  const auto resumed = cluster_.resume_from(kJob, kept_.front().batch);
  ASSERT_TRUE(resumed.has_value()) << resumed.error();
  EXPECT_EQ(resumed->applied.incarnation, 2);
  EXPECT_EQ(durable_record(cluster_).checkpoints, std::vector{kept_.front()});
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(run_to_next_checkpoint(cluster_)) << cluster_.state();
  ASSERT_TRUE(cluster_.finish()) << cluster_.state();
  EXPECT_EQ(durable_record(cluster_).incarnation, 2);
  EXPECT_FALSE(cluster_.checkpoint_disk().files.contains(kept_.back().name));
}

TEST_F(GoingBack, is_refused_where_it_could_not_go_on_from_there) {
  begin(cluster_);
  ASSERT_TRUE(run_to_next_checkpoint(cluster_)) << cluster_.state();
  const auto running = cluster_.resume_from(kJob, newest_checkpoint(cluster_));
  ASSERT_FALSE(running.has_value());
  EXPECT_NE(running.error().message.find("stop it before"), std::string::npos) << running.error();
  stop_with_two_checkpoints();
  const int64_t older = kept_.front().batch;
  const auto kept = "kept are " + std::to_string(older) + ", " + std::to_string(kept_.back().batch);
  expect_refusal(1'000'000, kept);

  auto& files = cluster_.checkpoint_disk().files;
  const std::string manifest = std::exchange(files.at(kept_.front().name), "damaged");
  expect_refusal(older, "its hash is not");
  files[kept_.front().name] = manifest;
  const std::string file = decode_record<wire::Manifest>(manifest)->files.front().name;
  auto taken_away = files.extract(file);
  expect_refusal(older, file + " is gone");
  files.insert(std::move(taken_away));
  const LogPartition first(0);
  cluster_.topic().retain_from(first, cluster_.topic().end(first));
  expect_refusal(older, "the records after the checkpoint begin at");
}

// It was cut off when the job stopped, and has state of the assignment that is still the newest.
TEST_F(GoingBack, an_executor_of_before_has_no_part_in_what_follows) {
  SimCluster cluster(1, {.workers = 1, .faults = SimFaults::none()});
  begin(cluster);
  ASSERT_TRUE(run_to_next_checkpoint(cluster)) << cluster.state();
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  const auto executors = job_of(cluster).describe().executors;
  ASSERT_EQ(executors.size(), 1u);
  cluster.world().cut_both_ways("master", "worker-0");
  cluster.world().cut_both_ways("master", "executor-" + executors.front().process);
  stop(cluster);
  const auto resumed = cluster.resume_from(kJob, durable_record(cluster).checkpoints.back().batch);
  ASSERT_TRUE(resumed.has_value()) << resumed.error();
  cluster.crash_master();
  cluster.world().heal();
  start_master(cluster);
  cluster.append_lines(30);
  EXPECT_TRUE(cluster.finish()) << cluster.state();
  EXPECT_NE(job_of(cluster).describe().executors.front().process, executors.front().process);
}

// The answer of the store's disk was that it failed, and it had not.
TEST_F(GoingBack, is_done_again_where_it_was_durable_and_nobody_knew) {
  begin(cluster_);
  stop_with_two_checkpoints();
  cluster_.crash_master();
  const std::string beyond = "batch/" + to_string(JobId(static_cast<uint64_t>(durable_record(cluster_).job))) + "/" +
                             to_hex(static_cast<uint64_t>(kept_.front().batch));
  std::erase_if(cluster_.metadata_disk().values, [&](const auto& entry) {
    return entry.first.starts_with(beyond.substr(0, beyond.size() - 16)) && entry.first > beyond;
  });
  start_master(cluster_);
  cluster_.ask_to_resume(kJob);
  const auto failed = [&] { return job_of(cluster_).phase() == JobController::Phase::kFailed; };
  ASSERT_TRUE(cluster_.world().run_until(failed, seconds(30))) << cluster_.state();
  EXPECT_NE(job_of(cluster_).summary().problem.find("resume it with --from"), std::string::npos)
      << job_of(cluster_).summary().problem;
  const auto resumed = cluster_.resume_from(kJob, kept_.front().batch);
  ASSERT_TRUE(resumed.has_value()) << resumed.error();
  EXPECT_TRUE(cluster_.finish()) << cluster_.state();
}

}  // namespace
}  // namespace millrace
