#include "worker/block_store.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

BlockStore::Kept block(int64_t batch, int32_t source, size_t size) {
  auto outcome = std::make_shared<MapOutcome>();
  auto made = std::make_shared<ShuffleBlock>();
  made->batch = BatchId(batch);
  made->source = LogPartition(source);
  made->range = {Offset(batch * 10), Offset(batch * 10 + 10)};
  made->sections.push_back({StatePartition(0), SharedBuffer::of(std::string(size, 'x'))});
  return {std::move(outcome), std::move(made)};
}

OffsetRange range_of(int64_t batch) {
  return {Offset(batch * 10), Offset(batch * 10 + 10)};
}

TEST(BlockStore, FindsABlockOfExactlyTheRange) {
  BlockStore store(1 << 20);
  store.keep(block(1, 0, 100));
  EXPECT_NE(store.find(BatchId(1), LogPartition(0), range_of(1)), nullptr);
  EXPECT_EQ(store.find(BatchId(1), LogPartition(0), range_of(2)), nullptr);
  EXPECT_EQ(store.find(BatchId(1), LogPartition(1), range_of(1)), nullptr);
}

TEST(BlockStore, DropsTheOldestBatchFirstAtItsBound) {
  BlockStore store(5000);
  for (int64_t batch = 1; batch <= 10; ++batch) store.keep(block(batch, 0, 1000));
  EXPECT_LE(store.bytes(), 5000u);
  EXPECT_EQ(store.find(BatchId(1), LogPartition(0), range_of(1)), nullptr);
  EXPECT_NE(store.find(BatchId(10), LogPartition(0), range_of(10)), nullptr);
}

TEST(BlockStore, ABlockLargerThanTheBoundIsNotKept) {
  BlockStore store(500);
  store.keep(block(1, 0, 1000));
  EXPECT_EQ(store.size(), 0u);
  EXPECT_EQ(store.bytes(), 0u);
}

TEST(BlockStore, ForgetsUpToACheckpointAndBeyondTheDurableBatches) {
  BlockStore store(1 << 20);
  for (int64_t batch = 1; batch <= 5; ++batch) store.keep(block(batch, 0, 10));
  store.forget_through(BatchId(2));
  store.forget_beyond(BatchId(4));
  EXPECT_EQ(store.size(), 2u);
  store.forget_through(BatchId(9));
  EXPECT_EQ(store.bytes(), 0u);
}

TEST(BlockStore, ASecondBlockOfTheSameNameReplacesTheFirst) {
  BlockStore store(1 << 20);
  store.keep(block(1, 0, 1000));
  const size_t before = store.bytes();
  store.keep(block(1, 0, 1000));
  EXPECT_EQ(store.size(), 1u);
  EXPECT_EQ(store.bytes(), before);
}

}  // namespace
}  // namespace millrace
