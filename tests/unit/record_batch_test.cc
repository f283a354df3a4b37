#include "common/model/record_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace millrace {
namespace {

struct Owned {
  int64_t offset;
  int64_t timestamp_ms;
  std::optional<std::string> key;
  std::optional<std::string> value;
  bool operator==(const Owned&) const = default;
};

// What a reader makes of the bytes; an error of either cursor ends it. The bytes are copied to an allocation of
// exactly their size, so that the address sanitizer sees every read outside.
Result<std::vector<Owned>> read_all(std::string_view bytes, bool verify) {
  const auto exact = std::make_unique<char[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), exact.get());
  std::vector<Owned> all;
  RecordBatchCursor batches({exact.get(), bytes.size()});
  for (RecordBatchView batch; batches.next(batch);) {
    if (verify && !batch.crc_matches()) return fail(ErrorCode::kCorrupt, "crc");
    RecordCursor records(batch);
    for (RecordView record; records.next(record);) {
      Owned owned{record.offset.value(), record.timestamp_ms, {}, {}};
      if (record.has_key) owned.key = std::string(record.key);
      if (record.has_value) owned.value = std::string(record.value);
      all.push_back(owned);
    }
    if (Status status = records.status(); !status) return std::unexpected(status.error());
  }
  if (Status status = batches.status(); !status) return std::unexpected(status.error());
  return all;
}

std::string build(const std::vector<Owned>& records) {
  RecordBatchBuilder builder(16);
  for (const Owned& record : records) builder.add(Offset(record.offset), record.timestamp_ms, record.key, record.value);
  return builder.finish();
}

const std::vector<Owned> kSmall = {
    {100, 5000, "key", "a value"}, {101, 4000, std::nullopt, ""}, {105, 9000, "", std::nullopt}};

TEST(RecordBatch, gives_back_the_records_it_was_built_of) {
  const auto read = read_all(build(kSmall), true);
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(*read, kSmall);
}

TEST(RecordBatch, holds_large_values_far_timestamps_and_wide_gaps) {
  const std::vector<Owned> records = {{0, INT64_MIN, std::nullopt, std::string(100'000, 'x')},
                                      {1, INT64_MAX, std::string(70, 'k'), "y"},
                                      {INT32_MAX, 0, std::nullopt, std::string(1'000'000, 'z')}};
  const auto read = read_all(build(records), true);
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(*read, records);
}

TEST(RecordBatch, has_the_header_that_a_kafka_producer_writes) {
  RecordBatchBuilder builder;
  builder.set_producer({7, 3, 42});
  builder.add(Offset(10), 1000, std::nullopt, "a");
  builder.add(Offset(12), 3000, std::nullopt, "b");
  builder.add(Offset(13), 2000, std::nullopt, "c");
  const std::string bytes = builder.finish();
  RecordBatchCursor batches(bytes);
  RecordBatchView batch;
  ASSERT_TRUE(batches.next(batch));
  EXPECT_EQ(batch.base_offset(), Offset(10));
  EXPECT_EQ(batch.last_offset(), Offset(13));
  EXPECT_EQ(batch.next_offset(), Offset(14));
  EXPECT_EQ(batch.count(), 3);
  EXPECT_EQ(batch.leader_epoch(), -1);
  EXPECT_EQ(batch.base_timestamp_ms(), 1000);
  EXPECT_EQ(batch.max_timestamp_ms(), 3000);
  EXPECT_EQ(batch.producer_id(), 7);
  EXPECT_EQ(batch.producer_epoch(), 3);
  EXPECT_EQ(batch.base_sequence(), 42);
  EXPECT_EQ(batch.compression(), Compression::kNone);
  EXPECT_FALSE(batch.is_control());
  EXPECT_FALSE(batch.is_transactional());
  EXPECT_TRUE(batch.crc_matches());
  EXPECT_EQ(batch.body(), std::string_view("\x0e\0\0\0\x01\x02"
                                           "a\0\x10\0\xa0\x1f\x04\x01\x02"
                                           "b\0\x10\0\xd0\x0f\x06\x01\x02"
                                           "c\0",
                                           26));
}

TEST(RecordBatch, can_be_built_again_and_again_by_one_builder) {
  RecordBatchBuilder builder;
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(builder.empty());
    for (const Owned& record : kSmall)
      builder.add(Offset(record.offset), record.timestamp_ms, record.key, record.value);
    EXPECT_EQ(builder.finish(), build(kSmall));
  }
}

TEST(RecordBatch, lies_behind_others_in_one_buffer) {
  const std::vector<Owned> later = {{106, 1, std::nullopt, "later"}};
  const auto read = read_all(build(kSmall) + build(later), true);
  ASSERT_TRUE(read) << read.error();
  std::vector<Owned> both = kSmall;
  both.push_back(later[0]);
  EXPECT_EQ(*read, both);
}

TEST(RecordBatch, cut_anywhere_is_refused_as_torn) {
  const std::string whole = build(kSmall);
  for (size_t size = 1; size < whole.size(); ++size) {
    ASSERT_FALSE(read_all(std::string_view(whole).substr(0, size), false)) << size;
    const std::string two = whole + whole.substr(0, size);
    RecordBatchCursor batches(two);
    RecordBatchView batch;
    ASSERT_TRUE(batches.next(batch));
    ASSERT_FALSE(batches.next(batch));
    ASSERT_TRUE(batches.torn());
    ASSERT_EQ(batches.position(), whole.size());
  }
}

TEST(RecordBatch, with_any_bit_flipped_is_refused_or_differs_only_where_the_checksum_does_not_reach) {
  const std::string whole = build(kSmall);
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    (void)read_all(flipped, false);  // harmless also for who does not verify
    const auto read = read_all(flipped, true);
    const size_t byte = bit / 8;
    const bool outside_of_the_checksum = byte < 8 || (byte >= 12 && byte < 16);         // base offset, leader epoch
    ASSERT_EQ(read.has_value(), outside_of_the_checksum && bit != 7) << "bit " << bit;  // 7: the sign of the offset
  }
}

TEST(RecordBatch, of_random_bytes_behind_a_good_header_does_no_harm) {
  const std::string whole = build(kSmall);
  uint64_t state = 88172645463325252u;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = whole;
    for (size_t at = 61; at < bytes.size(); ++at) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      if ((state & 3) == 0) bytes[at] = static_cast<char>(state >> 32);
    }
    (void)read_all(bytes, false);
  }
}

TEST(RecordBatch, says_where_the_bad_bytes_are) {
  std::string bytes = build({{7, 0, std::nullopt, "fine"}});
  const size_t first = bytes.size();
  bytes += build(kSmall);
  bytes[first + 16] = 1;
  const auto read = read_all(bytes, false);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(read.error().message, testing::HasSubstr("byte " + std::to_string(first) + " (offset 100)"));
}

TEST(RecordBatch, that_is_compressed_is_refused_by_the_record_cursor) {
  std::string bytes = build(kSmall);
  bytes[22] = 4;
  const auto read = read_all(bytes, false);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, testing::HasSubstr("compressed"));
}

TEST(RecordBatch, with_append_time_gives_every_record_the_greatest_timestamp) {
  std::string bytes = build(kSmall);
  bytes[22] = 8;
  const auto read = read_all(bytes, false);
  ASSERT_TRUE(read);
  for (const Owned& record : *read) EXPECT_EQ(record.timestamp_ms, 9000);
}

TEST(CountRecords, counts_those_in_the_range_and_no_control_records) {
  std::string control = build({{106, 0, "k", "v"}});
  control[22] = 32;
  const std::string bytes = build(kSmall) + control + build({{107, 0, std::nullopt, "x"}, {108, 0, std::nullopt, "y"}});
  const auto count = [&](int64_t from, int64_t to) { return count_records(bytes, {Offset(from), Offset(to)}).value(); };
  EXPECT_EQ(count(0, 1000), 5);
  EXPECT_EQ(count(100, 109), 5);
  EXPECT_EQ(count(101, 108), 3);
  EXPECT_EQ(count(102, 105), 0);
  EXPECT_EQ(count(105, 106), 1);
  EXPECT_EQ(count(106, 107), 0);
  EXPECT_EQ(count(108, 108), 0);
  EXPECT_FALSE(count_records(bytes.substr(1), {Offset(0), Offset(1)}));
}

}  // namespace
}  // namespace millrace
