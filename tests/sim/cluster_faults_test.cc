// Faults that are expected to be ended in a certain way, not only to do no harm: how often, how soon, what is said.

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "common/base/check.h"
#include "tests/sim/cluster.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

api::JobSummary summary_of(SimCluster& cluster) {
  return cluster.master()->find_job("job")->summary();
}

bool says(SimCluster& cluster, const std::string& words) {
  return summary_of(cluster).problem.find(words) != std::string::npos;
}

TEST(WorkersThatCannotReachEachOther, do_not_take_turns_and_the_job_goes_on) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 2, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  const uint64_t before = cluster.counts().assignments;

  cluster.cut_workers(0, 1, true);
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return says(cluster, "cannot reach each other"); }, seconds(15)))
      << cluster.state();
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(5))) << cluster.state();
  // The newcomers are cut off too; the pauses before them grow, so that most of the time the job is at work.
  int caught_up = 0;
  for (int i = 0; i < 100; ++i) {
    cluster.append_lines(5);
    caught_up += cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(6)) ? 1 : 0;
    cluster.world().run_for(seconds(5));
  }
  EXPECT_GT(caught_up, 90) << cluster.state();
  EXPECT_LT(cluster.counts().assignments - before, 40) << cluster.state();

  cluster.mend_workers();
  const auto both_work = [&] { return cluster.master()->find_job("job")->describe().executors.size() == 2; };
  EXPECT_TRUE(cluster.world().run_until(both_work, minutes(3))) << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST(SinkThatFencesEverybody, is_tried_more_and_more_seldom_and_named) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 2, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  const uint64_t before = cluster.counts().assignments;

  cluster.sink().fences_everybody = true;
  cluster.append_lines(20);
  cluster.world().run_for(minutes(5));
  EXPECT_LT(cluster.counts().assignments - before, 25) << cluster.state();
  EXPECT_GT(cluster.counts().assignments - before, 5) << cluster.state();
  EXPECT_TRUE(says(cluster, "younger owner")) << cluster.state();

  cluster.sink().fences_everybody = false;
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, minutes(1))) << cluster.state();
  EXPECT_TRUE(cluster.world().run_until([&] { return summary_of(cluster).problem.empty(); }, seconds(10)))
      << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

}  // namespace
}  // namespace millrace
