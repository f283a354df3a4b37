#include "worker/lane_watch.h"

#include <gtest/gtest.h>

#include <optional>

namespace millrace {
namespace {

using State = LaneWatch::State;
using Kind = LaneActivity::Kind;
using std::chrono::seconds;

class LaneWatchTest : public testing::Test {
 protected:
  LaneWatchTest() { watch_.add(lane_); }

  State look(int times) {
    State state = State::kFine;
    for (int i = 0; i < times; ++i) state = watch_.look(seconds(1), seconds(10)).at(0);
    return state;
  }
  void call(Kind kind, OffsetRange range = {}) { call_.emplace(*lane_, kind, BatchId(7), 3, range); }

  const std::shared_ptr<LaneActivity> lane_ = std::make_shared<LaneActivity>();
  LaneWatch watch_;
  std::optional<LaneActivity::Scope> call_;
};

TEST_F(LaneWatchTest, a_lane_that_waits_for_work_is_fine_for_ever) {
  EXPECT_EQ(look(1000), State::kFine);
  call(Kind::kApply);
  call_.reset();
  EXPECT_EQ(look(1000), State::kFine);
}

TEST_F(LaneWatchTest, a_call_that_does_not_come_back_is_told_and_given_up_after_twice_as_long) {
  call(Kind::kMap, {Offset(10), Offset(20)});
  EXPECT_EQ(look(10), State::kFine) << "it began after the look before the first one";
  EXPECT_EQ(look(1), State::kStuck);
  EXPECT_EQ(lane_->text(), "map of batch 7, log partition 3, offsets 10 to 20");
  EXPECT_EQ(look(9), State::kStuck);
  EXPECT_EQ(look(1), State::kHopeless);
}

TEST_F(LaneWatchTest, one_call_after_the_other_is_no_call_that_hangs) {
  for (int i = 0; i < 20; ++i) {
    call(Kind::kApply);
    EXPECT_EQ(look(5), State::kFine);
  }
  EXPECT_EQ(lane_->text(), "batch 7 in state partition 3");
}

TEST_F(LaneWatchTest, a_call_that_gets_on_may_take_as_long_as_it_likes) {
  call(Kind::kRestore);
  EXPECT_EQ(look(11), State::kStuck);
  for (int i = 0; i < 100; ++i) {
    lane_->steps().step();
    EXPECT_EQ(look(9), State::kFine);
  }
}

TEST_F(LaneWatchTest, without_patience_nothing_is_told) {
  call(Kind::kSave);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(watch_.look(seconds(1), seconds(0)).at(0), State::kFine);
}

}  // namespace
}  // namespace millrace
