// The built-in jobs, through the test kit, as their users' tests would do it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "millrace/testing.h"

extern const millrace::JobDefinition millrace_job_recent_words;
extern const millrace::JobDefinition millrace_job_user_counts;

namespace millrace {
namespace {

using millrace::testing::TestJob;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(RecentWords, rise_with_what_comes_and_vanish_with_what_is_old) {
  TestJob job(millrace_job_recent_words, {.settings = {{"window", "2s"}, {"slide", "1s"}, {"words", "unicode"}}});
  job.advance(seconds(10));
  job.push("The sea, the SEA");
  job.run_batch();
  job.advance(seconds(1));
  job.push("the moon");
  job.run_batch();
  job.checkpoint();
  job.crash();
  job.advance(seconds(1));
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("moon", "1"), Pair("sea", "2"), Pair("the", "3")));
  job.advance(seconds(3));
  job.run_batch();
  EXPECT_THAT(job.table(), IsEmpty());
  EXPECT_THAT(job.top(3), IsEmpty());
}

TEST(RecentWords, windows_that_do_not_fit_the_batches_are_refused) {
  try {
    TestJob job(millrace_job_recent_words, {.settings = {{"window", "1s"}, {"slide", "150ms"}}});
    ADD_FAILURE() << "it was taken";
  } catch (const std::invalid_argument& problem) {
    EXPECT_THAT(problem.what(), ::testing::HasSubstr("150"));
  }
  EXPECT_THROW(TestJob(millrace_job_recent_words, {.settings = {{"window", "long"}}}), std::invalid_argument);
}

TEST(UserCounts, count_records_by_their_keys) {
  TestJob job(millrace_job_user_counts);
  job.push({.key = "ann", .value = "hello"});
  job.push({.key = "bob", .value = "good morning"}, 1);
  job.push({.key = "ann", .value = std::nullopt});
  job.push({.value = "from nobody"});
  job.run_batch();
  EXPECT_THAT(job.table(), ElementsAre(Pair("ann", "2"), Pair("bob", "1")));
}

}  // namespace
}  // namespace millrace
