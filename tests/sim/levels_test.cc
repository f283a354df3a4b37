// Jobs with levels on the simulated cluster: when all state partitions begin anew, and when they do not.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "common/base/check.h"
#include "common/wire/codec.h"
#include "tests/sim/cluster.h"
#include "tests/sim/level_job.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Levels : public testing::Test {
 protected:
  explicit Levels(SimClusterOptions options = {.workers = 3, .faults = SimFaults::none()}) : cluster_(1, options) {
    FLAGS_minloglevel = 3;
    cluster_.start();
    cluster_.submit("job", kLevelJob);
  }

  [[nodiscard]] api::JobDescription job() { return cluster_.master()->find_job("job")->describe(); }

  // Of the newest durable assignment: all generations that there are.
  [[nodiscard]] std::set<int64_t> generations() {
    std::set<int64_t> found;
    for (const auto& [key, value] : cluster_.metadata_disk().values) {
      if (!key.starts_with("assignment/")) continue;
      const auto assignment = decode_record<wire::AssignmentRecord>(value);
      for (const wire::StateOwner& owner : assignment->states) found.insert(owner.generation);
    }
    return found;
  }
  [[nodiscard]] int64_t generation() {
    const std::set<int64_t> all = generations();
    EXPECT_EQ(all.size(), 1u);
    return *all.begin();
  }

  void append_and_catch_up(int lines) {
    cluster_.append_lines(lines);
    ASSERT_TRUE(cluster_.world().run_until([&] { return cluster_.all_caught_up(); }, seconds(20))) << cluster_.state();
  }

  SimCluster cluster_;
};

TEST_F(Levels, all_begin_anew_where_one_executor_dies) {
  append_and_catch_up(20);
  const int64_t before = generation();
  cluster_.crash_executor_of(0);
  append_and_catch_up(20);
  EXPECT_GT(generation(), before);
  EXPECT_TRUE(cluster_.finish()) << cluster_.state();
}

TEST_F(Levels, go_on_as_they_are_with_a_new_master_that_finds_all_of_them) {
  append_and_catch_up(20);
  const int64_t before = generation();
  const uint64_t assignments = cluster_.counts().assignments;
  cluster_.append_lines(20);
  cluster_.world().run_for(milliseconds(12));  // batches are on their way
  cluster_.crash_master();
  cluster_.start_master();
  append_and_catch_up(20);
  EXPECT_GT(cluster_.counts().assignments, assignments);
  EXPECT_EQ(generation(), before);
  EXPECT_TRUE(cluster_.finish()) << cluster_.state();
}

TEST_F(Levels, all_begin_anew_with_a_new_master_that_lacks_one) {
  append_and_catch_up(20);
  const int64_t before = generation();
  cluster_.crash_master();
  cluster_.crash_executor_of(1);
  cluster_.start_master();
  append_and_catch_up(20);
  EXPECT_GT(generation(), before);
  EXPECT_TRUE(cluster_.finish()) << cluster_.state();
}

// One executor has heard of an assignment and the other has not when a checkpoint becomes complete and the master dies:
// both hold partitions of the same assignment then, and would begin at different checkpoints.
TEST_F(Levels, all_begin_anew_where_an_assignment_was_told_to_some_only) {
  append_and_catch_up(20);
  ASSERT_TRUE(cluster_.world().run_until([&] { return job().checkpoint_batch > 0; }, seconds(10)));
  Duration latency = milliseconds(1);
  bool is_slow = false;
  cluster_.checkpoint_disk().timing.latency = [&] { return latency; };
  // State files of all executors are written; what comes next is the manifest.
  int written = 0;
  cluster_.checkpoint_disk().failure = [&](FakeFileOperation operation, const std::string&) -> std::optional<Error> {
    if (operation == FakeFileOperation::kWriteState && ++written == 3) {
      latency = milliseconds(300);
      is_slow = true;
    }
    return std::nullopt;
  };
  const int64_t checkpoint = job().checkpoint_batch;
  cluster_.append_lines(50);
  ASSERT_TRUE(cluster_.world().run_until([&] { return is_slow; }, seconds(10)));
  cluster_.world().run_for(milliseconds(15));
  ASSERT_EQ(job().checkpoint_batch, checkpoint);
  std::map<std::string, std::string> executors;
  for (const api::ExecutorSummary& executor : job().executors) {
    executors[executor.worker] = "executor-" + executor.process;
  }
  const int64_t before = generation();
  cluster_.world().cut("master", executors.at("worker-1"));
  cluster_.crash_worker(0);
  ASSERT_TRUE(cluster_.world().run_until([&] { return generation() > before; }, seconds(1)));
  ASSERT_TRUE(cluster_.world().run_until([&] { return job().checkpoint_batch > checkpoint; }, milliseconds(600)))
      << cluster_.state();
  latency = milliseconds(1);
  cluster_.crash_master();
  cluster_.world().heal();
  cluster_.start_master();
  append_and_catch_up(20);
  EXPECT_TRUE(cluster_.finish()) << cluster_.state();
}

}  // namespace
}  // namespace millrace
