#include "worker/reduce_queue.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

BatchPlan plan_of(int64_t batch, std::vector<std::pair<int, OffsetRange>> ranges) {
  BatchPlan plan;
  plan.batch = BatchId(batch);
  for (const auto& [partition, range] : ranges)
    plan.ranges.push_back({LogPartition(partition), range, 0, ProcessId(1)});
  return plan;
}

OffsetRange range(int64_t from, int64_t to) {
  return {Offset(from), Offset(to)};
}

SharedBuffer bytes(const std::string& text) {
  return SharedBuffer::of(text);
}

TEST(ReduceQueue, GivesABatchOnceAllBlocksOfItsPlanAreHere) {
  ReduceQueue queue(BatchId(0));
  const BatchPlan plan = plan_of(1, {{0, range(0, 10)}, {1, range(5, 7)}});
  EXPECT_EQ(queue.add(BatchId(1), LogPartition(1), range(5, 7), bytes("b")), ReduceQueue::Admission::kHeld);
  EXPECT_FALSE(queue.take(plan));
  queue.add(BatchId(1), LogPartition(0), range(0, 10), bytes("a"));
  const auto taken = queue.take(plan);
  ASSERT_TRUE(taken);
  ASSERT_EQ(taken->size(), 2u);
  EXPECT_EQ((*taken)[0].view(), "a");  // in the order of log partitions
  EXPECT_EQ((*taken)[1].view(), "b");
  EXPECT_EQ(queue.taken(), BatchId(1));
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_EQ(queue.bytes(), 0u);
}

TEST(ReduceQueue, AnEmptySectionCoversItsRangeAndAddsNothing) {
  ReduceQueue queue(BatchId(4));
  queue.add(BatchId(5), LogPartition(0), range(0, 10), {});
  const auto taken = queue.take(plan_of(5, {{0, range(0, 10)}}));
  ASSERT_TRUE(taken);
  EXPECT_TRUE(taken->empty());
}

TEST(ReduceQueue, ABatchWithoutRecordsNeedsNoBlock) {
  ReduceQueue queue(BatchId(0));
  EXPECT_TRUE(queue.take(plan_of(1, {})));
}

TEST(ReduceQueue, DropsRepeatsAndWhatIsAppliedAlready) {
  ReduceQueue queue(BatchId(3));
  EXPECT_EQ(queue.add(BatchId(3), LogPartition(0), range(0, 1), {}), ReduceQueue::Admission::kAlreadyTaken);
  EXPECT_EQ(queue.add(BatchId(4), LogPartition(0), range(0, 1), bytes("x")), ReduceQueue::Admission::kHeld);
  EXPECT_EQ(queue.add(BatchId(4), LogPartition(0), range(0, 1), bytes("x")), ReduceQueue::Admission::kRepeated);
  EXPECT_EQ(queue.add(BatchId(1'000'000), LogPartition(0), range(0, 1), {}), ReduceQueue::Admission::kTooFarAhead);
  EXPECT_EQ(queue.bytes(), 1u);
}

TEST(ReduceQueue, ABlockOfAnotherRangeDoesNotStandInForThePlans) {
  ReduceQueue queue(BatchId(0));
  const BatchPlan plan = plan_of(1, {{0, range(0, 10)}});
  queue.add(BatchId(1), LogPartition(0), range(0, 9), bytes("short"));
  EXPECT_FALSE(queue.take(plan));
  queue.add(BatchId(1), LogPartition(0), range(0, 10), bytes("whole"));
  const auto taken = queue.take(plan);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->at(0).view(), "whole");
  EXPECT_EQ(queue.size(), 0u);
}

TEST(ReduceQueue, ForgetsWhatAnotherEpochSentBeyondTheDurableBatches) {
  ReduceQueue queue(BatchId(0));
  queue.add(BatchId(1), LogPartition(0), range(0, 1), bytes("keep"));
  queue.add(BatchId(2), LogPartition(0), range(1, 2), bytes("drop"));
  queue.forget_beyond(BatchId(1));
  EXPECT_EQ(queue.bytes(), 4u);
  EXPECT_TRUE(queue.take(plan_of(1, {{0, range(0, 1)}})));
  EXPECT_FALSE(queue.take(plan_of(2, {{0, range(1, 2)}})));
}

}  // namespace
}  // namespace millrace
