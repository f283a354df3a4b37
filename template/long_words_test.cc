#include <gtest/gtest.h>
#include <millrace/job.h>
#include <millrace/testing.h>

extern const millrace::JobDefinition millrace_job_long_words;

TEST(LongWords, are_counted_through_a_crash) {
  millrace::testing::TestJob job(millrace_job_long_words, {.settings = {{"least", "6"}}});
  job.push("a stream of streams");
  job.run_batch();
  job.checkpoint();
  job.push("streams and rivers");
  job.run_batch();
  job.crash();
  EXPECT_EQ(job.table(), (std::map<std::string, std::string>{{"stream", "1"}, {"streams", "2"}, {"rivers", "1"}}));
}
