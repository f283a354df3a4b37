#include "common/model/shuffle_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace millrace {
namespace {

ShuffleBlock sample() {
  ShuffleBlock block{StageId(0), BatchId(7), LogPartition(3), {Offset(100), Offset(250)}, {4000, 3000}, {}};
  block.sections.push_back({StatePartition(0), SharedBuffer::of("first")});
  block.sections.push_back({StatePartition(2), SharedBuffer::of("")});
  block.sections.push_back({StatePartition(63), SharedBuffer::of(std::string(1000, 'x'))});
  return block;
}

void expect_equal(const ShuffleBlock& left, const ShuffleBlock& right) {
  EXPECT_EQ(left.stage, right.stage);
  EXPECT_EQ(left.batch, right.batch);
  EXPECT_EQ(left.source, right.source);
  EXPECT_EQ(left.range, right.range);
  ASSERT_EQ(left.sections.size(), right.sections.size());
  for (size_t index = 0; index < left.sections.size(); ++index) {
    EXPECT_EQ(left.sections[index].partition, right.sections[index].partition);
    EXPECT_EQ(left.sections[index].bytes.view(), right.sections[index].bytes.view());
  }
}

TEST(ShuffleBlock, comes_back_as_it_was_encoded) {
  const auto decoded = decode_shuffle_block(encode_shuffle_block(sample()));
  ASSERT_TRUE(decoded) << decoded.error();
  expect_equal(*decoded, sample());
  EXPECT_EQ(decoded->fingerprint(), sample().fingerprint());
  EXPECT_EQ(decoded->bytes(), 1005u);
}

TEST(ShuffleBlock, without_a_section_comes_back_too) {
  ShuffleBlock empty = sample();
  empty.sections.clear();
  const auto decoded = decode_shuffle_block(encode_shuffle_block(empty));
  ASSERT_TRUE(decoded) << decoded.error();
  expect_equal(*decoded, empty);
}

TEST(ShuffleBlock, shares_the_bytes_it_was_decoded_from) {
  const SharedBuffer encoded = encode_shuffle_block(sample());
  const auto decoded = decode_shuffle_block(encoded);
  ASSERT_TRUE(decoded);
  const char* const section = decoded->sections[2].bytes.view().data();
  EXPECT_GE(section, encoded.view().data());
  EXPECT_LT(section, encoded.view().data() + encoded.size());
}

TEST(ShuffleBlock, cut_or_changed_anywhere_is_refused) {
  const std::string whole(encode_shuffle_block(sample()).view());
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto cut = decode_shuffle_block(SharedBuffer::of(whole.substr(0, size)));
    ASSERT_FALSE(cut) << size;
    ASSERT_EQ(cut.error().code, ErrorCode::kCorrupt);
  }
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_FALSE(decode_shuffle_block(SharedBuffer::of(flipped))) << bit;
  }
}

TEST(ShuffleBlock, with_sections_out_of_order_or_twice_is_refused) {
  ShuffleBlock twice = sample();
  twice.sections[1].partition = StatePartition(0);
  EXPECT_FALSE(decode_shuffle_block(encode_shuffle_block(twice)));
  ShuffleBlock negative = sample();
  negative.sections[0].partition = StatePartition(-1);
  EXPECT_FALSE(decode_shuffle_block(encode_shuffle_block(negative)));
}

TEST(ShuffleBlock, has_a_fingerprint_of_its_sections_alone) {
  ShuffleBlock other = sample();
  other.batch = BatchId(8);
  EXPECT_EQ(other.fingerprint(), sample().fingerprint());
  other.sections[0].bytes = SharedBuffer::of("First");
  EXPECT_NE(other.fingerprint(), sample().fingerprint());
}

TEST(ShuffleBlock, is_addressed_to_exactly_the_partitions_asked_for) {
  const StatePartition wanted[] = {StatePartition(1), StatePartition(2), StatePartition(63)};
  const ShuffleBlock selected = select_sections(sample(), wanted);
  ASSERT_EQ(selected.sections.size(), 3u);
  EXPECT_EQ(selected.sections[0].partition, StatePartition(1));
  EXPECT_TRUE(selected.sections[0].bytes.empty());
  EXPECT_EQ(selected.sections[1].partition, StatePartition(2));
  EXPECT_EQ(selected.sections[2].partition, StatePartition(63));
  EXPECT_EQ(selected.sections[2].bytes.size(), 1000u);
  EXPECT_EQ(selected.range, sample().range);
}

TEST(LevelBlock, comes_back_with_the_sections_for_the_partitions_asked_for) {
  LevelBlock block{2, BatchId(7), StatePartition(3), Generation(5), {}};
  block.sections = sample().sections;
  const std::vector<StatePartition> wanted = {StatePartition(0), StatePartition(1), StatePartition(5)};
  const auto decoded = decode_shuffle_block(encode_shuffle_block(shuffle_block_of(block, wanted)));
  ASSERT_TRUE(decoded) << decoded.error();
  const LevelBlock back = level_block_of(*decoded);
  EXPECT_EQ(back.level, 2);
  EXPECT_EQ(back.batch, BatchId(7));
  EXPECT_EQ(back.source, StatePartition(3));
  EXPECT_EQ(back.generation, Generation(5));
  ASSERT_EQ(back.sections.size(), 1u);
  EXPECT_EQ(back.sections[0].partition, StatePartition(0));
  EXPECT_EQ(back.sections[0].bytes.view(), "first");
  EXPECT_EQ(back.bytes(), 5u);
}

}  // namespace
}  // namespace millrace
