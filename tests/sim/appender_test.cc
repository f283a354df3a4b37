// Appender: order, repeated tries, and what waits for it.

#include "worker/appender.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/world.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

class AppenderTest : public testing::Test {
 protected:
  // Answers when it is told to.
  class ManualOutput : public Output {
   public:
    explicit ManualOutput(AppenderTest& test) : test_(test) {}
    void claim(Done done) override { done({}); }
    void release(Done done) override { done({}); }
    void enter(int32_t part, Generation generation, Done done) override {
      test_.entered_.emplace_back(part, generation.value());
      done(test_.enters_);
    }
    void append(OutputBatch batch, Done done) override {
      test_.asked_.push_back(batch);
      test_.answers_.push_back(std::move(done));
    }

   private:
    AppenderTest& test_;
  };

  AppenderTest() {
    std::vector<Appender::Named> outputs;
    outputs.push_back({"lines", std::make_unique<ManualOutput>(*this), 2});
    appender_ = std::make_unique<Appender>(
        loop_, std::move(outputs),
        Appender::Hooks{.may_append = [this] { return lease_; },
                        .settled = [this](const OwnedState&, BatchId batch) { settled_.push_back(batch.value()); },
                        .trouble = [this](const std::string&, const std::string& what) { trouble_ = what; },
                        .failed = [this](const Error& error) { failure_ = error.message; }});
  }

  static OwnedState part(int32_t partition, int64_t generation = 1) {
    return {StatePartition(partition), Generation(generation)};
  }
  void add(int64_t batch, OwnedState state = part(0)) {
    appender_->add({state, BatchId(batch), 0, {{0, 1, std::make_shared<const std::string>("x")}}});
  }
  void hold(int64_t batch) {
    appender_->when_appended({part(0)}, BatchId(batch), [this, batch] { released_.push_back(batch); });
  }
  void answer(Status status = {}) {
    auto done = std::move(answers_.at(answered_++));
    done(std::move(status));
  }
  static Status failed(ErrorCode code) { return fail(code, "the disk is full"); }
  using Batches = std::vector<int64_t>;

  World world_{1, SimFaults::none()};
  SimLoop& loop_ = world_.add_process("executor").make_loop("control");
  bool lease_ = true;
  std::vector<std::pair<int32_t, int64_t>> entered_;
  Status enters_;
  std::vector<OutputBatch> asked_;
  std::vector<Output::Done> answers_;
  size_t answered_ = 0;
  Batches settled_;
  Batches released_;
  std::string trouble_;
  std::string failure_;
  std::unique_ptr<Appender> appender_;
};

TEST_F(AppenderTest, gives_one_batch_of_a_part_after_the_other_and_parts_side_by_side) {
  add(1);
  add(2);
  add(1, part(1));
  ASSERT_EQ(asked_.size(), 2u);
  EXPECT_EQ(asked_[1].part, 1);
  answer();
  ASSERT_EQ(asked_.size(), 3u);
  EXPECT_EQ(asked_[2].batch, BatchId(2));
  EXPECT_EQ(settled_, (Batches{1}));
  EXPECT_TRUE(appender_->is_behind());
  answer();
  answer();
  EXPECT_FALSE(appender_->is_behind());
}

TEST_F(AppenderTest, tells_what_takes_long_until_it_is_done) {
  const auto look = [this] { appender_->look(milliseconds(2000), milliseconds(5000)); };
  add(7);
  look();
  look();
  EXPECT_EQ(trouble_, "");
  look();
  EXPECT_EQ(trouble_,
            "output 'lines' has not taken batch 7 for more than 5s, and later ones wait; see what its function, or its "
            "place, waits for");
  answer();
  EXPECT_EQ(trouble_, "");
  add(8);
  look();
  look();
  EXPECT_EQ(trouble_, "") << "each batch has its own time";
}

TEST_F(AppenderTest, tries_again_and_says_what_is_in_the_way) {
  add(1);
  answer(failed(ErrorCode::kIo));
  EXPECT_NE(trouble_.find("output 'lines' does not take records: the disk is full"), std::string::npos) << trouble_;
  world_.run_for(milliseconds(200));
  ASSERT_EQ(asked_.size(), 2u);
  answer();
  EXPECT_EQ(trouble_, "");
  EXPECT_EQ(settled_, (Batches{1}));
}

TEST_F(AppenderTest, fails_the_job_by_what_cannot_pass) {
  add(7);
  answer(failed(ErrorCode::kInvalid));
  EXPECT_EQ(failure_, "output 'lines', batch 7: the disk is full");
  world_.run_for(milliseconds(5000));
  EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(AppenderTest, lets_a_checkpoint_go_on_when_all_before_it_is_appended) {
  add(1);
  hold(1);
  add(2);
  EXPECT_EQ(released_, (Batches{}));
  answer();
  EXPECT_EQ(released_, (Batches{1}));
  hold(3);
  answer();
  EXPECT_EQ(released_, (Batches{1, 3}));
  hold(4);
  EXPECT_EQ(released_, (Batches{1, 3, 4}));
}

TEST_F(AppenderTest, holds_no_checkpoint_that_is_given_up_also_before_it_comes) {
  add(1);
  hold(1);
  appender_->abandon_checkpoint(BatchId(2));
  hold(2);
  hold(3);
  appender_->assign({part(0)});
  answer();
  EXPECT_EQ(released_, (Batches{}));
  EXPECT_EQ(settled_, (Batches{1}));
}

TEST_F(AppenderTest, begins_for_a_new_generation_when_what_is_under_way_for_the_one_before_has_ended) {
  add(1);
  appender_->assign({part(0, 2)});
  add(1, part(0, 2));
  EXPECT_EQ(asked_.size(), 1u);
  answer();
  ASSERT_EQ(asked_.size(), 2u);
  EXPECT_EQ(asked_[1].generation, Generation(2));
  EXPECT_EQ(settled_, (Batches{}));
}

TEST_F(AppenderTest, tells_an_output_who_owns_its_parts_and_again_every_hour) {
  using Entered = decltype(entered_);
  appender_->assign({part(1, 4), part(2, 4)});
  appender_->assign({part(0, 5), part(1, 4)});
  EXPECT_EQ(entered_, (Entered{{1, 4}, {0, 5}}));
  lease_ = false;
  world_.run_for(std::chrono::minutes(61));
  EXPECT_EQ(entered_.size(), 2u);
  lease_ = true;
  world_.run_for(std::chrono::hours(1));
  EXPECT_EQ(entered_, (Entered{{1, 4}, {0, 5}, {0, 5}, {1, 4}}));
}

TEST_F(AppenderTest, fails_the_job_where_a_part_can_never_be_entered) {
  enters_ = failed(ErrorCode::kUnavailable);
  appender_->assign({part(0)});
  EXPECT_EQ(failure_, "");
  enters_ = failed(ErrorCode::kInvalid);
  appender_->assign({part(0, 2)});
  EXPECT_EQ(failure_, "output 'lines': the disk is full");
}

TEST_F(AppenderTest, waits_for_its_lease) {
  lease_ = false;
  add(1);
  EXPECT_TRUE(asked_.empty());
  lease_ = true;
  appender_->resume();
  EXPECT_EQ(asked_.size(), 1u);
}

}  // namespace
}  // namespace millrace
