// What a submit is answered where its log is not ready, or unfit; and what one who wants to go back to a checkpoint, or
// on by other code.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/wire/codec.h"
#include "tests/sim/cluster.h"
#include "tests/sim/passing.h"
#include "tests/sim/upgraded_job.h"

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
  const std::string beyond = "batch/" + to_string(millrace::job_of(durable_record(cluster_).job)) + "/" +
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

class Upgrading : public GoingBack {
 protected:
  void begin_upgraded(SimCluster& cluster) {
    cluster.start();
    cluster.submit(kJob, kUpgradedJob);
    ASSERT_TRUE(run_to_next_checkpoint(cluster)) << cluster.state();
  }
  static std::vector<std::string> libraries(SimCluster& cluster) {
    std::vector<std::string> names;
    for (const auto& [name, bytes] : cluster.checkpoint_disk().files) {
      if (name.ends_with(".so")) names.push_back(name);
    }
    return names;
  }
  // A request that may drop what it drops.
  static api::UpgradeRequest agreed_upgrade_of(SimCluster& cluster, int64_t version) {
    api::UpgradeRequest request = cluster.upgrade_of(kJob, version);
    const auto plan = cluster.plan_upgrade(request);
    if (plan.has_value()) SimCluster::agree_to(*plan, request);
    return request;
  }
  static void upgrade_to(SimCluster& cluster, int64_t version) {
    stop(cluster);
    const auto upgraded = cluster.upgrade(agreed_upgrade_of(cluster, version));
    ASSERT_TRUE(upgraded.has_value()) << upgraded.error();
  }
  static void expect_refusal_of(SimCluster& cluster, const api::UpgradeRequest& request, const std::string& why) {
    const auto refused = cluster.upgrade(request);
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message.find(why), std::string::npos) << refused.error();
  }
  SimCluster libraries_{1, {.base_every = 2, .libraries = true, .faults = SimFaults::none()}};
};

TEST_F(Upgrading, says_what_becomes_of_each_state_and_leaves_a_way_back) {
  begin_upgraded(libraries_);
  const auto plan = libraries_.plan_upgrade(libraries_.upgrade_of(kJob, 2));
  ASSERT_TRUE(plan.has_value()) << plan.error();
  std::vector<std::string> fates;
  for (const api::StateChange& state : plan->states) fates.push_back(state.fate + " " + state.name);
  EXPECT_EQ(plan->states[1].former_layout, "text -> int64");
  EXPECT_EQ(fates, (std::vector<std::string>{"new beside 2", "migrated words", "dropped beside 1"}));

  upgrade_to(libraries_, 2);
  const wire::JobRecord record = durable_record(libraries_);
  EXPECT_EQ(record.spec.version, plan->version);
  EXPECT_EQ(record.incarnation, 2);
  ASSERT_TRUE(record.__isset.former);
  EXPECT_EQ(record.checkpoints, std::vector{record.former.checkpoint});
  for (int i = 0; i < 14; ++i) ASSERT_TRUE(run_to_next_checkpoint(libraries_)) << libraries_.state();
  EXPECT_EQ(kept_checkpoints(durable_record(libraries_)).size(), 3u);
  for (const std::string& file : record.former.files) {
    EXPECT_TRUE(file.empty() || libraries_.checkpoint_disk().files.contains(file)) << file << " was swept";
  }

  stop(libraries_);
  const auto back = libraries_.resume_from(kJob, record.former.checkpoint.batch);
  ASSERT_TRUE(back.has_value()) << back.error();
  EXPECT_EQ(durable_record(libraries_).spec.version, 1);
  EXPECT_EQ(durable_record(libraries_).incarnation, 3);
  EXPECT_FALSE(durable_record(libraries_).__isset.former);
  ASSERT_TRUE(run_to_next_checkpoint(libraries_)) << libraries_.state();
  EXPECT_TRUE(libraries_.finish()) << libraries_.state();
}

TEST_F(Upgrading, keeps_the_libraries_that_it_may_need) {
  begin_upgraded(libraries_);
  for (int version = 2; version < 6; ++version) {
    upgrade_to(libraries_, version);
    ASSERT_TRUE(run_to_next_checkpoint(libraries_)) << libraries_.state();
  }
  const wire::JobRecord record = durable_record(libraries_);
  EXPECT_EQ(record.spec.version, 5);
  const auto stored = libraries(libraries_);
  EXPECT_EQ(stored.size(), 3u);  // and the one before, which the next upgrade takes away
  EXPECT_TRUE(std::ranges::count(stored, record.spec.library) == 1);
  EXPECT_TRUE(std::ranges::count(stored, record.former.spec.library) == 1);
  EXPECT_TRUE(libraries_.finish()) << libraries_.state();
}

TEST_F(Upgrading, is_refused_where_nothing_good_can_come_of_it) {
  begin_upgraded(libraries_);
  api::UpgradeRequest request = agreed_upgrade_of(libraries_, 2);
  expect_refusal_of(libraries_, request, "stop it before");
  stop(libraries_);
  const wire::JobRecord before = durable_record(libraries_);
  const auto refuse = [&](const api::UpgradeRequest& asked, const std::string& why) {
    expect_refusal_of(libraries_, asked, why);
    EXPECT_EQ(durable_record(libraries_), before);
  };
  api::UpgradeRequest old = request;
  old.from_version = 7;
  refuse(old, "the job is of version 1 by now");
  api::UpgradeRequest other = request;
  other.plan.states.back() = {};
  other.plan.states.back().name = "words";
  other.plan.states.back().layout = "text -> text";
  refuse(other, "state 'words' was kept as text -> int64, and the new code keeps it as text -> text");
  other.plan.states.clear();
  refuse(other, "does not say what it keeps");
  const std::string file = before.checkpoints.back().name;
  auto& files = libraries_.checkpoint_disk().files;
  const std::string manifest = std::exchange(files.at(file), "damaged");
  refuse(request, "its hash is not");
  EXPECT_FALSE(libraries_.plan_upgrade(request).has_value());
  files[file] = manifest;
  const auto plan = libraries_.plan_upgrade(request);
  ASSERT_TRUE(plan.has_value()) << plan.error();
  EXPECT_EQ(plan->states.size(), 3u);
  const auto upgraded = libraries_.upgrade(request);
  ASSERT_TRUE(upgraded.has_value()) << upgraded.error();
  stop(libraries_);
  request = libraries_.upgrade_of(kJob, 2);
  expect_refusal_of(libraries_, request, "is what it would become already, version 2");
  EXPECT_TRUE(libraries_.finish()) << libraries_.state();
}

TEST_F(Upgrading, loses_no_state_that_nobody_has_agreed_to_lose) {
  begin_upgraded(libraries_);
  api::UpgradeRequest request = libraries_.upgrade_of(kJob, 2);
  const auto expect_plan = [&](const std::string& problem) {
    const auto plan = libraries_.plan_upgrade(request);
    ASSERT_TRUE(plan.has_value()) << plan.error();
    EXPECT_EQ(plan->problem.substr(0, problem.size()), problem);
    EXPECT_EQ(plan->problem.empty(), problem.empty()) << plan->problem;
    EXPECT_EQ(plan->states.back().note, "all that it holds is lost");
  };
  const std::string refusal = "state 'beside 1' (text -> int64) would be dropped";
  expect_plan(refusal);
  stop(libraries_);
  expect_plan(refusal);
  const wire::JobRecord before = durable_record(libraries_);
  expect_refusal_of(libraries_, request, refusal);
  request.drop = {"beside 1", "words"};
  expect_plan("--drop 'words': no such state is dropped");
  expect_refusal_of(libraries_, request, "--drop 'words': no such state is dropped; those that are: beside 1");
  EXPECT_EQ(durable_record(libraries_), before);
  request.drop = {"beside 1"};
  expect_plan("");
  const auto upgraded = libraries_.upgrade(request);
  ASSERT_TRUE(upgraded.has_value()) << upgraded.error();
  EXPECT_TRUE(libraries_.finish()) << libraries_.state();
}

TEST_F(Upgrading, begins_anew_where_there_is_no_checkpoint) {
  cluster_.start();
  cluster_.submit(kJob, kUpgradedJob);
  stop(cluster_);
  ASSERT_TRUE(durable_record(cluster_).checkpoints.empty());
  upgrade_to(cluster_, 2);
  EXPECT_FALSE(durable_record(cluster_).__isset.former);
  ASSERT_TRUE(run_to_next_checkpoint(cluster_)) << cluster_.state();
  EXPECT_TRUE(cluster_.finish()) << cluster_.state();
}

TEST_F(Upgrading, of_a_version_that_has_come_to_nothing_is_from_the_checkpoint_before_it) {
  begin_upgraded(cluster_);
  upgrade_to(cluster_, kWrongVersion);
  const wire::FormerVersion former = durable_record(cluster_).former;
  cluster_.append_lines(30);
  const auto failed = [&] { return job_of(cluster_).phase() == JobController::Phase::kFailed; };
  ASSERT_TRUE(cluster_.world().run_until(failed, seconds(30))) << cluster_.state();
  EXPECT_NE(job_of(cluster_).summary().problem.find("this version is wrong"), std::string::npos);
  const auto upgraded = cluster_.upgrade(agreed_upgrade_of(cluster_, 3));
  ASSERT_TRUE(upgraded.has_value()) << upgraded.error();
  EXPECT_EQ(durable_record(cluster_).spec.version, 3);
  EXPECT_EQ(durable_record(cluster_).former, former);
  ASSERT_TRUE(run_to_next_checkpoint(cluster_)) << cluster_.state();
  EXPECT_TRUE(cluster_.finish()) << cluster_.state();
}

// The commit may be durable although the disk says that it failed, so there is no way but on.
TEST_F(Upgrading, is_tried_until_the_disk_takes_it) {
  begin_upgraded(cluster_);
  stop(cluster_);
  const auto request = cluster_.upgrade_of(kJob, 2);
  cluster_.metadata_disk().failure = Error{ErrorCode::kIo, "the disk is full"};
  cluster_.ask_to_upgrade(kJob);
  const auto waits = [&] {
    const JobController* job = cluster_.master()->find_job(kJob);
    return job != nullptr && job->summary().problem.find("waits for the master's disk") != std::string::npos;
  };
  ASSERT_TRUE(cluster_.world().run_until(waits, seconds(10))) << cluster_.state();
  EXPECT_EQ(durable_record(cluster_).spec.version, 1);
  cluster_.metadata_disk().failure.reset();
  const auto upgraded = [&] { return durable_record(cluster_).spec.version == 2; };
  ASSERT_TRUE(cluster_.world().run_until(upgraded, seconds(10))) << cluster_.state();
  EXPECT_TRUE(cluster_.finish()) << cluster_.state();
}

// By their numbers, whatever their names are.
class NumberedTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  Status restore_from(const std::vector<StatePlan>&) override { return {}; }
};

TEST_F(Upgrading, that_mixed_states_up_would_be_noticed) {
  struct Mixing : Plant {
    std::shared_ptr<const Job> job(std::shared_ptr<const Job> real) override {
      return std::make_shared<PassingJob>(
          real, [](std::unique_ptr<StateTable> table) { return std::make_unique<NumberedTable>(std::move(table)); });
    }
  };
  SimCluster cluster(1, {.faults = SimFaults::none(), .plant = std::make_shared<Mixing>()});
  cluster.append_lines(100);
  begin_upgraded(cluster);
  upgrade_to(cluster, 2);
  cluster.append_lines(30);
  EXPECT_FALSE(cluster.finish());
  EXPECT_NE(cluster.oracle().breach(), "");
}

}  // namespace
}  // namespace millrace
