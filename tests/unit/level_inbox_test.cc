#include "worker/level_inbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace millrace {
namespace {

using Admission = LevelInbox::Admission;

constexpr int32_t kLevels = 3;
constexpr int32_t kSources = 2;

std::shared_ptr<const LevelBlock> block(int64_t batch, int32_t level, int32_t source, const std::string& text = "",
                                        int64_t generation = 1) {
  LevelBlock made{level, BatchId(batch), StatePartition(source), Generation(generation), {}};
  if (!text.empty()) made.sections.push_back({StatePartition(7), SharedBuffer::of(text)});
  return std::make_shared<const LevelBlock>(std::move(made));
}

std::vector<std::string> texts(const std::optional<std::vector<SharedBuffer>>& sections) {
  if (!sections) return {"not all here"};
  std::vector<std::string> all;
  for (const SharedBuffer& section : *sections) all.emplace_back(section.view());
  return all;
}

class LevelInboxTest : public testing::Test {
 protected:
  LevelInboxTest() { inbox_.restart(Generation(1), BatchId(4)); }
  std::vector<std::string> of(int64_t batch, int32_t level, int32_t partition = 7) {
    return texts(inbox_.sections_for(BatchId(batch), level, StatePartition(partition)));
  }

  LevelInbox inbox_{kLevels, kSources};
};

TEST_F(LevelInboxTest, a_level_is_complete_when_all_sources_are_here_and_comes_in_their_order) {
  EXPECT_EQ(inbox_.add(block(5, 1, 1, "second")), Admission::kHeld);
  EXPECT_THAT(of(5, 1), testing::ElementsAre("not all here"));
  EXPECT_EQ(inbox_.add(block(5, 2, 0, "of another level")), Admission::kHeld);
  EXPECT_EQ(inbox_.add(block(6, 1, 0, "of another batch")), Admission::kHeld);
  EXPECT_THAT(of(5, 1), testing::ElementsAre("not all here"));
  EXPECT_EQ(inbox_.add(block(5, 1, 0, "first")), Admission::kHeld);
  EXPECT_THAT(of(5, 1), testing::ElementsAre("first", "second"));
  EXPECT_THAT(of(5, 1, 6), testing::IsEmpty()) << "what a block does not list gets nothing";
}

TEST_F(LevelInboxTest, an_empty_block_counts_as_one) {
  inbox_.add(block(5, 1, 0));
  EXPECT_THAT(of(5, 1), testing::ElementsAre("not all here"));
  inbox_.add(block(5, 1, 1));
  EXPECT_THAT(of(5, 1), testing::IsEmpty());
}

TEST_F(LevelInboxTest, a_repeat_stands_in_for_no_other_source) {
  EXPECT_EQ(inbox_.add(block(5, 1, 0, "once")), Admission::kHeld);
  EXPECT_EQ(inbox_.add(block(5, 1, 0, "twice")), Admission::kRepeated);
  EXPECT_THAT(of(5, 1), testing::ElementsAre("not all here"));
  EXPECT_EQ(inbox_.bytes(), 4u);
}

TEST_F(LevelInboxTest, blocks_of_other_generations_are_not_taken) {
  inbox_.restart(Generation(2), BatchId(4));
  EXPECT_EQ(inbox_.add(block(5, 1, 0, "old", 1)), Admission::kOutdated);
  EXPECT_EQ(inbox_.add(block(5, 1, 0, "young", 3)), Admission::kUnexpected);
  EXPECT_EQ(inbox_.add(block(5, 1, 0, "present", 2)), Admission::kHeld);
}

TEST_F(LevelInboxTest, partitions_that_begin_anew_take_nothing_of_before) {
  inbox_.add(block(5, 1, 0, "old"));
  inbox_.add(block(5, 1, 1, "old"));
  inbox_.restart(Generation(2), BatchId(4));
  EXPECT_THAT(of(5, 1), testing::ElementsAre("not all here"));
  EXPECT_EQ(inbox_.bytes(), 0u);
}

TEST_F(LevelInboxTest, holds_two_batches_and_nothing_that_nobody_sends) {
  EXPECT_EQ(inbox_.add(block(4, 1, 0)), Admission::kOutdated);
  EXPECT_EQ(inbox_.add(block(6, 1, 0)), Admission::kHeld);
  EXPECT_EQ(inbox_.add(block(7, 1, 0)), Admission::kUnexpected) << "too far ahead";
  EXPECT_EQ(inbox_.add(block(5, 0, 0)), Admission::kUnexpected);
  EXPECT_EQ(inbox_.add(block(5, kLevels, 0)), Admission::kUnexpected) << "the last level emits nothing";
  EXPECT_EQ(inbox_.add(block(5, 1, kSources)), Admission::kUnexpected);
  EXPECT_EQ(inbox_.add(block(5, 1, -1)), Admission::kUnexpected);
  inbox_.forget_through(BatchId(5));
  EXPECT_EQ(inbox_.add(block(7, 1, 0)), Admission::kHeld);
}

TEST_F(LevelInboxTest, forgets_what_is_applied_and_what_never_was) {
  inbox_.add(block(5, 1, 0, "five"));
  inbox_.add(block(5, 2, 0, "five"));
  inbox_.add(block(6, 1, 0, "six"));
  inbox_.forget_through(BatchId(5));
  EXPECT_EQ(inbox_.bytes(), 3u);
  inbox_.forget_beyond(BatchId(5));
  EXPECT_EQ(inbox_.bytes(), 0u);
  EXPECT_EQ(inbox_.add(block(6, 1, 0, "planned anew")), Admission::kHeld);
}

}  // namespace
}  // namespace millrace
