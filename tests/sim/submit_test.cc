// What a submit is answered where its log is not ready, or unfit.
#include <gtest/gtest.h>

#include <algorithm>

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

}  // namespace
}  // namespace millrace
