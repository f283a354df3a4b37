// What goes wrong while owners change and while executors load and replay:
// nothing is forgotten, nobody waits for ever.

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "common/base/check.h"
#include "tests/sim/cluster.h"

namespace millrace {
namespace {

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

}  // namespace
}  // namespace millrace
