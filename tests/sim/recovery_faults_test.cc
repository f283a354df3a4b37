// What goes wrong while owners change and while executors load and replay:
// nothing is forgotten, nobody waits for ever.

#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>

#include "common/base/check.h"
#include "tests/sim/cluster.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

int64_t checkpoint_of(SimCluster& cluster) {
  return cluster.master()->find_job("job")->describe().checkpoint_batch;
}

// A job on which nothing goes wrong by chance, that has published what there is
// and has a checkpoint of it.
void bring_to_work(SimCluster& cluster) {
  FLAGS_minloglevel = 3;
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(
      cluster.world().run_until([&] { return cluster.all_caught_up() && checkpoint_of(cluster) > 0; }, seconds(10)))
      << cluster.state();
}

TEST(AssignmentThatDoesNotBecomeDurable, forgets_nothing_that_has_to_be_loaded_again) {
  SimCluster cluster(1, {.workers = 2, .faults = SimFaults::none()});
  bring_to_work(cluster);
  std::set<std::string> before;
  for (const auto& [name, bytes] : cluster.checkpoint_disk().files) before.insert(name);
  const int64_t first = checkpoint_of(cluster);
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return checkpoint_of(cluster) > first; }, seconds(10)));
  // The newest checkpoint is damaged, and the master's disk is full when it
  // hears of it.
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

// A first checkpoint ends the batches before it. Meanwhile partitions that
// moved before its end begin at nothing, and are held up; the next master has
// no batches for them.
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

}  // namespace
}  // namespace millrace
