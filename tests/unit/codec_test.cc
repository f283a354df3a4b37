#include "common/wire/codec.h"

#include <gtest/gtest.h>

#include <random>

namespace millrace {
namespace {

wire::Envelope assign_envelope() {
  wire::Envelope envelope;
  envelope.header.sender = 7;
  envelope.header.sequence = 12;
  wire::Assign assign;
  for (int i = 0; i < 20; ++i) {
    wire::StateOwner owner;
    owner.partition = i;
    owner.process = -5 - i;
    assign.states.push_back(owner);
    wire::CheckpointFile file;
    file.name = "file-" + std::to_string(i);
    file.partitions = {1, 2, 3};
    assign.files.push_back(file);
  }
  envelope.body.__set_assign(assign);
  return envelope;
}

TEST(Codec, GivesBackWhatWasEncoded) {
  const wire::Envelope envelope = assign_envelope();
  const auto decoded = decode(encode(envelope));
  ASSERT_TRUE(decoded.has_value()) << decoded.error();
  EXPECT_EQ(decoded->header, envelope.header);
  EXPECT_TRUE(decoded->body.__isset.assign);
  EXPECT_FALSE(decoded->body.__isset.hello);
  EXPECT_EQ(decoded->body.assign, envelope.body.assign);
}

TEST(Codec, RefusesEveryMessageCutShortOrTooLong) {
  const SharedBuffer bytes = encode(assign_envelope());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto decoded = decode(bytes.slice(0, size));
    ASSERT_FALSE(decoded.has_value()) << size;
    EXPECT_EQ(decoded.error().code, ErrorCode::kCorrupt);
  }
  EXPECT_FALSE(decode(SharedBuffer::of(std::string(bytes.view()) + "x")).has_value());
  EXPECT_FALSE(decode(SharedBuffer::of(std::string(kMaxControlBytes + 1, '\0'))).has_value());
}

TEST(Codec, SurvivesRandomBytesAndRandomChanges) {
  std::mt19937_64 random(1);
  const SharedBuffer good = encode(assign_envelope());
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes(good.view());
    if (round % 2 == 0) bytes.resize(random() % 200);
    const size_t changes = round % 2 == 0 ? bytes.size() : 1 + random() % 4;
    for (size_t i = 0; i < changes; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    (void)decode(SharedBuffer::of(bytes));
  }
}

TEST(Codec, RefusesAFewBytesThatClaimAMillionStructs) {
  // Envelope{2: Body{39: MapDone{1: list<MapResult>[999,999]
  std::string bytes = {0x2c, 0x0c, 0x4e, 0x19, static_cast<char>(0xfc)};
  uint32_t count = 999'999;
  while (count >= 0x80) {
    bytes.push_back(static_cast<char>(count | 0x80));
    count >>= 7;
  }
  bytes.push_back(static_cast<char>(count));
  EXPECT_FALSE(decode(SharedBuffer::of(bytes)).has_value());
}

// With half of these partitions in each of two tasks.
wire::Envelope replay_of(int64_t partitions) {
  wire::Envelope envelope;
  wire::Replay replay;
  replay.tasks.resize(2);
  for (auto& task : replay.tasks) task.partitions.resize(static_cast<size_t>(partitions / 2));
  envelope.body.__set_replay(replay);
  return envelope;
}

// The same, and one partition more in the last list: its size stands in three bytes before its elements of one byte
// each; behind them stand the task's two times, of two bytes each, and the task, the replay, the body and the envelope
// end.
SharedBuffer replay_with_one_more(int64_t partitions) {
  std::string bytes(encode(replay_of(partitions)).view());
  const size_t elements = bytes.size() - 8 - static_cast<size_t>(partitions / 2);
  ++bytes[elements - 3];
  bytes.insert(elements, 1, '\0');
  return SharedBuffer::of(bytes);
}

TEST(Codec, BoundsTheElementsOfAllContainersTogether) {
  constexpr int64_t kMost = kMaxElements - 2;  // and the two tasks
  EXPECT_TRUE(decode(encode(replay_of(kMost))).has_value());
  EXPECT_TRUE(decode(replay_with_one_more(kMost - 2)).has_value());
  EXPECT_FALSE(decode(replay_with_one_more(kMost)).has_value());
}

TEST(CodecDeathTest, DoesNotEncodeWhatNobodyDecodes) {
  EXPECT_DEATH((void)encode(replay_of(kMaxElements)), "without a bound");
}

TEST(Codec, RefusesDeepNestingInUnknownFields) {
  std::string bytes(100'000, static_cast<char>(0xfc));  // field +15, a struct, again and again
  EXPECT_FALSE(decode(SharedBuffer::of(bytes)).has_value());
}

TEST(Codec, TellsEveryChangedBitOfAStoredRecord) {
  wire::BatchRecord record;
  record.batch = 42;
  record.topic_id = "topic";
  const std::string bytes = encode_record(record);
  const auto decoded = decode_record<wire::BatchRecord>(bytes);
  ASSERT_TRUE(decoded.has_value()) << decoded.error();
  EXPECT_EQ(*decoded, record);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(decode_record<wire::BatchRecord>(changed).has_value()) << bit;
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_record<wire::BatchRecord>(bytes.substr(0, size)).has_value());
  }
}

}  // namespace
}  // namespace millrace
