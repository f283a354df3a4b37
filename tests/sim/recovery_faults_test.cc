// What goes wrong while owners change and while executors load and replay: nothing is forgotten, nobody waits for ever.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "common/base/check.h"
#include "common/wire/codec.h"
#include "tests/sim/cluster.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

api::JobSummary summary_of(SimCluster& cluster) {
  return cluster.master()->find_job("job")->summary();
}

bool says(SimCluster& cluster, const std::string& words) {
  return summary_of(cluster).problem.find(words) != std::string::npos;
}

int64_t checkpoint_of(SimCluster& cluster) {
  return cluster.master()->find_job("job")->describe().checkpoint_batch;
}

// Names of executors, that is, of their processes on the World, by worker.
std::map<std::string, std::string> executors_by_worker(SimCluster& cluster) {
  std::map<std::string, std::string> names;
  for (const api::ExecutorSummary& executor : cluster.master()->find_job("job")->describe().executors) {
    names[executor.worker] = "executor-" + executor.process;
  }
  return names;
}

bool everybody_has_a_share(SimCluster& cluster) {
  return std::ranges::all_of(cluster.master()->find_job("job")->describe().executors,
                             [](const api::ExecutorSummary& executor) { return executor.state_partitions > 0; });
}

// A job on which nothing goes wrong by chance, that has published what there is and has a checkpoint of it.
void bring_to_work(SimCluster& cluster) {
  FLAGS_minloglevel = 3;
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(
      cluster.world().run_until([&] { return cluster.all_caught_up() && checkpoint_of(cluster) > 0; }, seconds(10)))
      << cluster.state();
}

std::optional<Error> full(FakeFileOperation operation, const std::string& name) {
  if (operation == FakeFileOperation::kRead || operation == FakeFileOperation::kReadState) return std::nullopt;
  return Error{ErrorCode::kIo, name + ": the disk is full"};
}

// Each of the three cannot reach the others, so that two are given up at once; the first of them is the only one that
// does not leave, and with it the job lets go of all that leave.
TEST(WorkersThatCannotReachEachOther, may_be_released_while_others_are_given_up) {
  SimCluster cluster(1, {.workers = 3, .faults = SimFaults::none()});
  bring_to_work(cluster);
  const std::string first = executors_by_worker(cluster).at("worker-0");
  cluster.crash_executor_of(0);  // its successor is the youngest
  const auto all_share = [&] {
    const auto now = executors_by_worker(cluster);
    return now.size() == 3 && now.at("worker-0") != first && everybody_has_a_share(cluster);
  };
  ASSERT_TRUE(cluster.world().run_until(all_share, seconds(10))) << cluster.state();
  for (const auto& [one, other] : {std::pair(0, 1), std::pair(0, 2), std::pair(1, 2)}) {
    cluster.cut_workers(one, other, true);
  }
  cluster.append_lines(20);
  cluster.world().run_for(milliseconds(500));
  cluster.drain_worker(1);
  cluster.drain_worker(2);
  // A master that stood still hears of all cuts at once.
  cluster.world().run_for(milliseconds(500));
  cluster.freeze_master(seconds(8));
  cluster.world().run_for(seconds(20));
  cluster.mend_workers();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST(AssignmentThatDoesNotBecomeDurable, forgets_nothing_that_has_to_be_loaded_again) {
  SimCluster cluster(1, {.workers = 2, .faults = SimFaults::none()});
  bring_to_work(cluster);
  std::set<std::string> before;
  for (const auto& [name, bytes] : cluster.checkpoint_disk().files) before.insert(name);
  const int64_t first = checkpoint_of(cluster);
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return checkpoint_of(cluster) > first; }, seconds(10)));
  // The newest checkpoint is damaged, and the master's disk is full when it hears of it.
  for (auto& [name, bytes] : cluster.checkpoint_disk().files) {
    if (!before.contains(name) && !name.ends_with(".manifest")) bytes.clear();
  }
  cluster.crash_executor_of(0);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.counts().restore_failures > 0; }, seconds(10)));
  cluster.metadata_disk().failure = Error{ErrorCode::kIo, "the disk is full"};
  cluster.world().run_for(seconds(1));
  cluster.metadata_disk().failure.reset();
  cluster.append_lines(20);
  EXPECT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(20))) << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

// A first checkpoint ends the batches before it. Meanwhile partitions that moved before its end begin at nothing, and
// are held up; the next master has no batches for them.
TEST(PartitionThatReturnsFromBeforeTheBatchLog, is_loaded_again) {
  SimCluster cluster(1, {.workers = 3, .checkpoint_interval_ms = 1000, .faults = SimFaults::none()});
  FLAGS_minloglevel = 3;
  Duration latency = milliseconds(1);
  int written = 0;
  cluster.checkpoint_disk().timing.latency = [&] { return latency; };
  cluster.checkpoint_disk().failure = [&](FakeFileOperation operation, const std::string&) -> std::optional<Error> {
    written += operation == FakeFileOperation::kWriteState ? 1 : 0;
    if (written == 3) latency = milliseconds(300);  // of what comes next, the manifest
    return std::nullopt;
  };
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(50);
  ASSERT_TRUE(cluster.world().run_until([&] { return written == 3; }, seconds(10))) << cluster.state();
  cluster.world().run_for(milliseconds(5));
  ASSERT_EQ(checkpoint_of(cluster), 0);
  cluster.cut_workers(1, 2, true);
  const uint64_t before = cluster.counts().assignments;
  cluster.crash_worker(0);
  ASSERT_TRUE(cluster.world().run_until([&] { return checkpoint_of(cluster) > 0; }, seconds(1))) << cluster.state();
  ASSERT_GT(cluster.counts().assignments, before);
  ASSERT_GT(cluster.master()->find_job("job")->describe().recovering_partitions, 0);

  latency = milliseconds(1);
  cluster.crash_master();
  cluster.crash_worker(2);  // and with it the blocks that were on their way
  cluster.start_master();
  const uint64_t of_the_first = cluster.counts().assignments;
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.counts().assignments > of_the_first; }, seconds(10)));
  cluster.mend_workers();
  cluster.append_lines(20);
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST(ReplayOfManyPartitions, goes_in_messages_that_are_understood) {
  SimCluster cluster(1, {.workers = 1,
                         .log_partitions = 40,
                         .state_partitions = 4096,
                         .checkpoint_interval_ms = 1'000'000,
                         .faults = SimFaults::none()});
  FLAGS_minloglevel = 3;
  cluster.start();
  cluster.submit("job", "word_count");
  for (int i = 1; i <= 10; ++i) {  // batches, more than are asked for at once
    cluster.append_lines(300);
    ASSERT_TRUE(cluster.world().run_until([&] { return summary_of(cluster).records == 300 * i; }, seconds(10)))
        << cluster.state();
  }
  cluster.crash_executor_of(0);
  cluster.append_lines(300);
  EXPECT_TRUE(cluster.world().run_until([&] { return summary_of(cluster).records == 3300; }, seconds(60)));
}

// The newest checkpoint is about to be complete, of merged bases, when partitions are told to load the one before it,
// which is damaged.
TEST(RestoreThatFails, is_begun_again_from_a_newer_checkpoint_that_is_complete_by_then) {
  SimCluster cluster(1, {.workers = 2, .base_every = 1, .faults = SimFaults::none()});
  bring_to_work(cluster);
  Duration latency = milliseconds(1);
  int merged = 0;
  cluster.checkpoint_disk().timing.latency = [&] { return latency; };
  cluster.checkpoint_disk().failure = [&](FakeFileOperation operation, const std::string&) -> std::optional<Error> {
    merged += operation == FakeFileOperation::kMergeState ? 1 : 0;
    if (merged == 2) latency = milliseconds(200);  // of what comes next, the manifest
    return std::nullopt;
  };
  const int64_t before = checkpoint_of(cluster);
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return merged == 2; }, seconds(10))) << cluster.state();
  cluster.world().run_for(milliseconds(5));
  ASSERT_EQ(checkpoint_of(cluster), before);
  merged = 3;
  latency = milliseconds(400);
  const JobController& job = *cluster.master()->find_job("job");
  auto& files = cluster.checkpoint_disk().files;
  const auto manifest = decode_record<wire::Manifest>(files.at(job.record().checkpoints.back().name));
  ASSERT_TRUE(manifest.has_value());
  for (const wire::CheckpointFile& file : manifest->files) {
    if (!file.name.empty()) files.at(file.name).clear();
  }
  cluster.crash_worker(0);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.counts().restore_failures > 0; }, seconds(2)));
  ASSERT_GT(checkpoint_of(cluster), before);
  latency = milliseconds(1);
  cluster.append_lines(20);
  EXPECT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(5))) << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST(ExecutorThatReturnsLate, is_started_anew_because_its_peers_have_forgotten_it) {
  SimCluster cluster(1, {.workers = 3, .faults = SimFaults::none()});
  bring_to_work(cluster);
  const std::map<std::string, std::string> before = executors_by_worker(cluster);
  const std::string late = before.at("worker-1");
  cluster.crash_master();
  cluster.world().cut_both_ways("master", late);
  cluster.start_master();
  cluster.append_lines(20);
  // The others do not wait for it for ever.
  ASSERT_TRUE(
      cluster.world().run_until([&] { return cluster.master()->started() && cluster.all_caught_up(); }, seconds(10)))
      << cluster.state();
  cluster.world().heal();
  const auto all_there = [&] { return executors_by_worker(cluster).size() == 3; };
  ASSERT_TRUE(cluster.world().run_until(all_there, seconds(10))) << cluster.state();
  EXPECT_NE(executors_by_worker(cluster).at("worker-1"), late);
  bool blamed = false;
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until(
      [&] {
        blamed = blamed || says(cluster, "cannot reach each other");
        return cluster.all_caught_up();
      },
      seconds(3)))
      << cluster.state();
  EXPECT_FALSE(blamed);
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST(WorkerThatLeaves, does_not_wait_for_a_checkpoint_that_cannot_be_written) {
  SimCluster cluster(1, {.workers = 2, .faults = SimFaults::none()});
  bring_to_work(cluster);
  const std::map<std::string, std::string> before = executors_by_worker(cluster);
  uint64_t tried = 0;
  cluster.checkpoint_disk().failure = [&](FakeFileOperation operation, const std::string& name) {
    tried += operation == FakeFileOperation::kWriteState ? 1 : 0;
    return full(operation, name);
  };
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(5))) << cluster.state();
  cluster.drain_worker(1);
  const auto left = [&] {
    const auto now = executors_by_worker(cluster);
    return now.contains("worker-1") && now.at("worker-1") != before.at("worker-1");
  };
  EXPECT_TRUE(cluster.world().run_until(left, seconds(10))) << cluster.state();
  // The one that comes in its place waits for a checkpoint: by then it has little to replay.
  const int64_t checkpoint = checkpoint_of(cluster);
  const uint64_t assignments = cluster.counts().assignments;
  const uint64_t tries = tried;
  for (int i = 0; i < 100; ++i) {
    cluster.append_lines(3);
    cluster.world().run_for(milliseconds(10));
  }
  EXPECT_EQ(cluster.counts().assignments, assignments) << cluster.state();
  EXPECT_GT(tried, tries);
  EXPECT_LT(tried - tries, 30) << "at every batch, not at every interval";
  EXPECT_EQ(checkpoint_of(cluster), checkpoint);
  cluster.checkpoint_disk().failure = nullptr;
  cluster.append_lines(20);
  EXPECT_TRUE(cluster.world().run_until([&] { return everybody_has_a_share(cluster); }, seconds(10)))
      << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST(JobWithoutCheckpoints, takes_no_more_records_at_its_bound_and_goes_on_when_there_is_space) {
  SimCluster cluster(1, {.workers = 2, .max_uncheckpointed = 20, .faults = SimFaults::none()});
  bring_to_work(cluster);
  const int64_t checkpoint = checkpoint_of(cluster);
  cluster.checkpoint_disk().failure = full;
  const auto lags = [&] {
    cluster.append_lines(3);
    cluster.world().run_for(milliseconds(30));
    return summary_of(cluster).lag_records > 200;
  };
  for (int i = 0; i < 200 && !lags(); ++i) {
  }
  EXPECT_TRUE(lags()) << cluster.state();
  EXPECT_EQ(checkpoint_of(cluster), checkpoint);
  EXPECT_TRUE(says(cluster, "the disk is full")) << cluster.state();

  // Nor does it stand still when it is stopped and resumed meanwhile.
  cluster.ask_to_stop("job");
  const auto stopped = [&] { return summary_of(cluster).state == "stopped"; };
  ASSERT_TRUE(cluster.world().run_until(stopped, seconds(30))) << cluster.state();
  cluster.checkpoint_disk().failure = nullptr;
  cluster.ask_to_resume("job");
  EXPECT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

}  // namespace
}  // namespace millrace
