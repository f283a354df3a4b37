// Which deaths of executors are one row, and what is said of them.

#include <gtest/gtest.h>

#include "master/executor_deaths.h"

namespace millrace {
namespace {

const ProcessId kAnn(11);
const ProcessId kBob(12);
const ProcessId kCid(13);

ExecutorDeaths::Progress progress_at(int64_t applied, int64_t newest, bool idle = false) {
  return {BatchId(applied), BatchId(newest), idle};
}

TEST(ExecutorDeaths, of_a_row_with_no_batch_between_are_too_many) {
  ExecutorDeaths deaths(3);
  EXPECT_EQ(deaths.text(), "");
  for (const ProcessId process : {kAnn, kBob, kCid}) {
    EXPECT_FALSE(deaths.too_many());
    deaths.lost(process, "map batch 8", progress_at(7, 9));
    deaths.tell(progress_at(7, 10));
    EXPECT_TRUE(deaths.ended(process, "w", "signal 11"));
  }
  EXPECT_TRUE(deaths.too_many());
  EXPECT_EQ(deaths.text(),
            "3 executors died, one after the other and no batch further, the last on worker w: signal 11, while it had "
            "to do: map batch 8; where the job's code is the reason, mend it and `millrace upgrade` the job");
}

TEST(ExecutorDeaths, are_no_row_when_the_job_gets_on_or_was_at_rest) {
  for (const ExecutorDeaths::Progress& progress : {progress_at(8, 9), progress_at(7, 9, true)}) {
    ExecutorDeaths deaths(2);
    deaths.lost(kAnn, "", progress_at(7, 9));
    ASSERT_TRUE(deaths.ended(kAnn, "w", "signal 11"));
    EXPECT_EQ(deaths.text(),
              "an executor died on worker w: signal 11; where the job's code is the reason, mend it and `millrace "
              "upgrade` the job; after 2 in a row the job fails");
    deaths.tell(progress);
    EXPECT_EQ(deaths.text(), "");
    deaths.lost(kBob, "", progress);
    ASSERT_TRUE(deaths.ended(kBob, "w", "signal 11"));
    EXPECT_FALSE(deaths.too_many());
  }
}

TEST(ExecutorDeaths, do_not_count_who_was_told_to_end_or_is_not_known) {
  ExecutorDeaths deaths(1);
  EXPECT_FALSE(deaths.ended(kAnn, "w", "signal 9"));
  EXPECT_FALSE(deaths.any());
}

}  // namespace
}  // namespace millrace
