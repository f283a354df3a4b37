#include "adapters/fetch_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/fakes/kafka_frames.h"

namespace millrace {
namespace {

using State = FetchAnswer::State;

constexpr int32_t kCorrelation = 7;
constexpr size_t kMostBytes = 100'000'000;

std::string batch_of(int64_t base, size_t value_bytes) {
  RecordBatchBuilder builder;
  builder.add(Offset(base), 1, std::nullopt, std::string(value_bytes, 'v'));
  return builder.finish();
}

// A frame as a broker sends it, in answer to question().
std::string frame_of(const std::string& records, int64_t aborted = 0) {
  FetchFrame frame{.records = records};
  for (int64_t producer = 0; producer < aborted; ++producer) frame.aborted.push_back({producer, Offset(0)});
  return to_bytes(frame, kCorrelation);
}

struct Reader {
  explicit Reader(size_t most_bytes = 1 << 20)
      : credit(std::make_shared<ReadCredit>(most_bytes, [this] { ++wakes; })),
        answer(std::in_place, FetchQuestion{}, kCorrelation, kMostBytes, blocks, credit) {}

  // As from a socket that never has more than `most` bytes.
  State receive(std::string_view bytes, size_t most) {
    while (!bytes.empty() && answer->state() == State::kMore) {
      const std::span<char> room = answer->room();
      const size_t size = std::min({bytes.size(), room.size(), most});
      std::memcpy(room.data(), bytes.data(), size);
      (void)answer->arrived(size);
      bytes.remove_prefix(size);
    }
    EXPECT_TRUE(bytes.empty() || answer->state() == State::kBroken) << bytes.size() << " bytes are left";
    return answer->state();
  }

  int wakes = 0;
  std::shared_ptr<FetchBlocks> blocks = std::make_shared<FetchBlocks>();
  std::shared_ptr<ReadCredit> credit;
  std::optional<FetchAnswer> answer;
};

TEST(FetchAnswer, is_the_same_in_pieces_of_any_size) {
  const std::string records = batch_of(0, 100) + batch_of(1, 700) + batch_of(2, 10);
  const std::string frame = frame_of(records);
  for (size_t most = 1; most <= frame.size(); ++most) {
    Reader reader;
    ASSERT_EQ(reader.receive(frame, most), State::kWhole) << most;
    EXPECT_EQ(reader.answer->walk().state(), BatchWalk::State::kGood);
    EXPECT_EQ(reader.answer->walk().next(), Offset(3));
    const std::span<char> bytes = reader.answer->buffer()->bytes();
    EXPECT_EQ(std::string_view(bytes.data(), records.size()), records);
    EXPECT_EQ(reader.answer->walk().batches()[0].bytes().data(), bytes.data()) << "they lie where they were received";
    EXPECT_FALSE(reader.answer->tail().diverging);
  }
}

TEST(FetchAnswer, verifies_what_has_arrived_before_the_rest_comes) {
  std::string records = batch_of(0, 100) + batch_of(1, 700) + batch_of(2, 10);
  records.back() = 'x';
  const std::string frame = frame_of(records);
  Reader reader;
  EXPECT_EQ(reader.receive(frame.substr(0, frame.size() - 20), 512), State::kMore);
  EXPECT_EQ(reader.answer->walk().batches().size(), 2);
  EXPECT_EQ(reader.receive(frame.substr(frame.size() - 20), 512), State::kWhole);
  EXPECT_EQ(reader.answer->walk().state(), BatchWalk::State::kCorrupt);
  EXPECT_EQ(reader.answer->walk().next(), Offset(2));
}

TEST(FetchAnswer, is_of_a_log_that_was_cut_back_also_where_the_broker_was_not_asked_for_it) {
  std::string records = batch_of(0, 10);
  store_big(records.data() + 12, int32_t{2});  // the leader epoch
  Reader reader;
  const FetchQuestion question{.last_epoch = 3, .send_last_epoch = false};
  reader.answer.emplace(question, kCorrelation, kMostBytes, reader.blocks, reader.credit);
  EXPECT_EQ(reader.receive(frame_of(records), 4096), State::kWhole);
  EXPECT_EQ(reader.answer->walk().state(), BatchWalk::State::kCutBack);
}

TEST(FetchAnswer, may_have_a_head_of_any_length) {
  const std::string frame = frame_of(batch_of(0, 10), 1000);
  for (const size_t most : {1UL, 100UL, frame.size()}) {
    Reader reader;
    EXPECT_EQ(reader.receive(frame, most), State::kWhole);
    EXPECT_EQ(reader.answer->walk().next(), Offset(1));
  }
}

TEST(FetchAnswer, is_broken_where_it_cannot_be_one) {
  const std::string frame = frame_of(batch_of(0, 10));
  const auto broken = [](const std::string& bytes) { return Reader().receive(bytes, 4096) == State::kBroken; };
  EXPECT_FALSE(broken(frame));
  for (const int32_t size : {-1, 0, 4, 100'000'001, INT32_MAX}) {
    std::string changed = frame;
    store_big(changed.data(), size);
    EXPECT_TRUE(broken(changed)) << size;
  }
  EXPECT_TRUE(broken(frame + '\0')) << "more than the frame";
  std::string tail = frame;
  tail[tail.size() - 3] = 1;
  EXPECT_TRUE(broken(tail));
  std::string correlation = frame;
  correlation[7] = 8;
  EXPECT_TRUE(broken(correlation));
}

TEST(ReadCredit, comes_back_when_the_last_chunk_of_an_answer_goes) {
  Reader reader(1000);
  EXPECT_TRUE(reader.credit->has(5000)) << "all of it is more than enough";
  ASSERT_EQ(reader.receive(frame_of(batch_of(0, 900)), 4096), State::kWhole);
  EXPECT_LT(reader.credit->left(), 100);
  EXPECT_FALSE(reader.credit->has(100));
  std::shared_ptr<FetchBuffer> first_chunk = reader.answer->buffer();
  std::shared_ptr<FetchBuffer> second_chunk = first_chunk;
  reader.answer.reset();
  first_chunk.reset();
  EXPECT_EQ(reader.wakes, 0);
  second_chunk.reset();
  EXPECT_EQ(reader.wakes, 1);
  EXPECT_EQ(reader.credit->left(), 1000);
  FetchBuffer(reader.blocks, reader.credit, 10);
  EXPECT_EQ(reader.wakes, 1) << "nobody waits";
}

TEST(FetchBlocks, are_used_again_up_to_a_bound) {
  const auto blocks = std::make_shared<FetchBlocks>(9 << 20);
  const auto credit = std::make_shared<ReadCredit>(1, [] {});
  const char* address = nullptr;
  {
    const FetchBuffer buffer(blocks, credit, 1'000'000);
    address = buffer.bytes().data();
  }
  EXPECT_EQ(blocks->idle_bytes(), 1 << 20);
  {
    const FetchBuffer other_size(blocks, credit, 3'000'000);
    EXPECT_EQ(blocks->idle_bytes(), 1 << 20);
    const FetchBuffer same_size(blocks, credit, 600'000);
    EXPECT_EQ(same_size.bytes().data(), address);
    EXPECT_EQ(blocks->idle_bytes(), 0);
  }
  {
    std::vector<std::unique_ptr<FetchBuffer>> many;
    for (int index = 0; index < 3; ++index) many.push_back(std::make_unique<FetchBuffer>(blocks, credit, 4 << 20));
  }
  EXPECT_EQ(blocks->idle_bytes(), 9 << 20) << "two of them, and the smaller one of before";
  blocks->drop_idle();
  EXPECT_EQ(blocks->idle_bytes(), 0);
  for (const size_t bytes : {size_t{1}, FetchBlocks::kSmallest - 1, FetchBlocks::kLargest + 1}) {
    FetchBuffer buffer(blocks, credit, bytes);
    std::ranges::fill(buffer.bytes(), 'x');
  }
  EXPECT_EQ(blocks->idle_bytes(), 0) << "blocks only";
  for (const size_t bytes : {FetchBlocks::kSmallest, FetchBlocks::kSmallest + 1, FetchBlocks::kLargest}) {
    FetchBuffer buffer(blocks, credit, bytes);
    std::ranges::fill(buffer.bytes(), 'x');
  }
}

}  // namespace
}  // namespace millrace
