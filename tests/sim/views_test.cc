// A table read page by page: what a reader finds while executors and masters die under it.

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>

#include "common/base/check.h"
#include "tests/sim/cluster.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

api::SearchRequest request_for(int32_t limit) {
  api::SearchRequest request;
  request.name = "job";
  request.limit = limit;
  return request;
}

// The batch of the newest complete checkpoint.
int64_t checkpoint_of(SimCluster& cluster) {
  return cluster.master()->find_job("job")->describe().checkpoint_batch;
}

void count_some(SimCluster& cluster) {
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(60))) << cluster.state();
}

void begin(SimCluster& cluster) {
  cluster.start();
  cluster.submit("job", "word_count");
  count_some(cluster);
}

void make_checkpoints(SimCluster& cluster, int number) {
  for (int i = 0; i < number; ++i) {
    const int64_t seen = checkpoint_of(cluster);
    cluster.append_lines(3);
    ASSERT_TRUE(cluster.world().run_until([&] { return checkpoint_of(cluster) > seen; }, seconds(60)));
  }
}

TEST(Pages, are_all_of_one_batch_while_executors_die_and_checkpoints_go) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 2, .base_every = 2, .faults = SimFaults::none()});
  begin(cluster);
  api::SearchRequest request = request_for(5);
  Result<api::Page> page = cluster.search(request);
  ASSERT_TRUE(page.has_value()) << page.error();
  const int64_t batch = page->as_of.batch;
  int pages = 1;
  for (; !page->next_page.empty(); ++pages) {
    const int64_t before = checkpoint_of(cluster);
    cluster.crash_executor(static_cast<uint64_t>(pages));
    count_some(cluster);
    make_checkpoints(cluster, 3);  // so that one of then is not among the kept ones
    ASSERT_GT(checkpoint_of(cluster), before);
    const std::optional<api::Page> last = *page;
    request.after = last->next_page;
    page = cluster.search(request);
    ASSERT_TRUE(page.has_value()) << page.error();
    EXPECT_EQ(page->as_of.batch, batch);
    EXPECT_GT(page->entries.front().key, last->entries.back().key);
  }
  EXPECT_GT(pages, 4);
  EXPECT_TRUE(cluster.finish()) << cluster.state();
  EXPECT_EQ(cluster.oracle().breach(), "");
}

TEST(Pages, whose_snapshot_has_gone_say_so_and_a_reader_begins_again) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 1, .base_every = 2, .faults = SimFaults::none()});
  begin(cluster);
  api::SearchRequest request = request_for(5);
  Result<api::Page> page = cluster.search(request);
  ASSERT_TRUE(page.has_value()) << page.error();
  request.after = page->next_page;

  make_checkpoints(cluster, 3);
  cluster.world().run_for(seconds(90));  // what nobody reads for a minute is not kept
  const Result<api::Page> gone = cluster.search(request);
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error().code, ErrorCode::kDataLost);
  EXPECT_NE(gone.error().message.find("begin again"), std::string::npos) << gone.error();
  request.after.clear();
  EXPECT_TRUE(cluster.search(request).has_value());

  // Another client has read all the time; of what it had pinned nothing is left.
  make_checkpoints(cluster, 12);
  cluster.world().run_for(seconds(90));
  EXPECT_LE(cluster.checkpoint_disk().files.size(), 20U);
  EXPECT_EQ(cluster.oracle().breach(), "");
}

TEST(Pages, of_a_job_at_rest_are_refused_with_what_to_do) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 1, .faults = SimFaults::none()});
  begin(cluster);
  cluster.ask_to_stop("job");
  const auto stopped = [&] { return !cluster.master()->find_job("job")->needs_executors(); };
  ASSERT_TRUE(cluster.world().run_until(stopped, seconds(60)));
  std::optional<Result<api::Page>> page;
  cluster.master()->find_job("job")->search(request_for(5), [&](Result<api::Page> told) { page = std::move(told); });
  ASSERT_TRUE(page.has_value() && !page->has_value());
  EXPECT_EQ(page->error().code, ErrorCode::kUnavailable);
  EXPECT_NE(page->error().message.find("resume it"), std::string::npos) << page->error();
}

}  // namespace
}  // namespace millrace
