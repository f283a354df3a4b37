#include "worker/lane_watch.h"

#include <gtest/gtest.h>

#include <optional>

namespace millrace {
namespace {

using Kind = LaneActivity::Kind;
using std::chrono::seconds;

class LaneWatchTest : public testing::Test {
 protected:
  LaneWatchTest() { watch_.add(lane_); }

  bool is_stuck_after(int looks) {
    bool stuck = false;
    for (int i = 0; i < looks; ++i) stuck = watch_.look(seconds(1), seconds(10)).at(0);
    return stuck;
  }
  void call(Kind kind, OffsetRange range = {}) { call_.emplace(*lane_, kind, BatchId(7), 3, range); }

  const std::shared_ptr<LaneActivity> lane_ = std::make_shared<LaneActivity>();
  LaneWatch watch_;
  std::optional<LaneActivity::Scope> call_;
};

TEST_F(LaneWatchTest, a_lane_that_waits_for_work_is_fine_for_ever) {
  EXPECT_FALSE(is_stuck_after(1000));
  call(Kind::kApply);
  call_.reset();
  EXPECT_FALSE(is_stuck_after(1000));
}

TEST_F(LaneWatchTest, a_call_that_does_not_come_back_is_told_until_it_does) {
  call(Kind::kMap, {Offset(10), Offset(20)});
  EXPECT_FALSE(is_stuck_after(10)) << "it began after the look before the first one";
  EXPECT_TRUE(is_stuck_after(1));
  EXPECT_EQ(lane_->text(), "map of batch 7, log partition 3, offsets 10 to 20");
  EXPECT_TRUE(is_stuck_after(100));
  call_.reset();
  EXPECT_FALSE(is_stuck_after(1));
}

TEST_F(LaneWatchTest, one_call_after_the_other_is_no_call_that_hangs) {
  for (int i = 0; i < 20; ++i) {
    call(Kind::kApply);
    EXPECT_FALSE(is_stuck_after(5));
  }
  EXPECT_EQ(lane_->text(), "batch 7 in state partition 3");
}

TEST_F(LaneWatchTest, a_call_that_gets_on_may_take_as_long_as_it_likes) {
  call(Kind::kRestore);
  EXPECT_TRUE(is_stuck_after(11));
  for (int i = 0; i < 100; ++i) {
    lane_->steps().step();
    EXPECT_FALSE(is_stuck_after(9));
  }
}

TEST_F(LaneWatchTest, without_patience_nothing_is_told) {
  call(Kind::kSave);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(watch_.look(seconds(1), seconds(0)).at(0));
}

}  // namespace
}  // namespace millrace
