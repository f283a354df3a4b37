// The bytes here were made by Kafka's own Java client, kafka-clients 3.9.1.
#include "adapters/kafka_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <numeric>

#include "adapters/kafka_wire.h"
#include "common/base/byte_order.h"
#include "tests/unit/hex_bytes.h"

namespace millrace {
namespace {

using testing::ElementsAre;

constexpr int32_t kCorrelation = 7;
constexpr char kClient[] = "millrace";

KafkaTopicId topic_id() {
  KafkaTopicId id;
  std::iota(id.bytes.begin(), id.bytes.end(), char{0});  // 000102..0f
  return id;
}

FetchQuestion question() {
  return {.topic = topic_id(),
          .partition = LogPartition(2),
          .leader_epoch = 3,
          .from = Offset(1000),
          .last_epoch = 3,
          .max_wait_ms = 500,
          .max_bytes = 4 << 20};
}

const std::string kVersionsAnswer = from_hex(
    "00000007 0000 03 0001 0000 0011 00 0003 0000 000c 00 00000000"
    "02 01 08 0000000000000005 02 17 02 11 6d657461646174612e76657273696f6e 0015 0015 00");

const std::string kMetadataAnswer = from_hex(
    "00000007 00 00000000 02 00000001 0a 3132372e302e302e31 00002384 00 00 02 63 00000001"
    "02 0000 06 6c696e6573 000102030405060708090a0b0c0d0e0f 00"
    "02 0000 00000000 00000001 00000003 02 00000001 02 00000001 01 00 80000000 00 00");

const std::string kFetchHead = from_hex(
    "00000007 00 00000000 0000 00000000 02 000102030405060708090a0b0c0d0e0f 02 00000002 0000"
    "00000000000003e9 00000000000003e9 0000000000000000 02 0000000000000009 00000000000003de 00 ffffffff 4a");
const std::string kRecords = from_hex(
    "00000000000003e8 0000003d 00000003 02 214295e7 0000 00000000 0000018bcfe56800 0000018bcfe56800"
    "ffffffffffffffff ffff ffffffff 00000001 16 00 00 00 01 0a 6120622061 00");
const std::string kNoTags = from_hex("000000");

const std::string kDiverging = from_hex(
    "00000007 00 00000000 0000 00000000 02 000102030405060708090a0b0c0d0e0f 02 00000002 0000"
    "0000000000000384 0000000000000384 0000000000000000 00 ffffffff 01");
const std::string kDivergingTail = from_hex("01 00 0d 00000002 0000000000000370 00 00 00");

const std::string kThrottled = from_hex("00000007 00 000000fa 0000 00000000 01 00");

// Behind bytes that are a heap block of their own, so that AddressSanitizer sees who reads on.
class Exactly {
 public:
  explicit Exactly(std::string_view bytes) : size_(bytes.size()), block_(new char[bytes.size()]) {
    bytes.copy(block_.get(), size_);
  }
  [[nodiscard]] std::string_view view() const { return {block_.get(), size_}; }

 private:
  size_t size_;
  std::unique_ptr<char[]> block_;
};

auto head_of(std::string_view arrived, size_t frame_bytes) {
  return parse_fetch_head(Exactly(arrived).view(), frame_bytes, question(), kCorrelation);
}

bool broken(std::string_view frame) {
  const auto head = head_of(frame, frame.size());
  return !head && head.error() == NoFetchHead::kBroken;
}

// `bytes` with others written over them.
std::string with(std::string bytes, size_t at, std::string_view others) {
  return bytes.replace(at, others.size(), others);
}

TEST(KafkaWire, take_a_topic_id_as_it_is_written_and_nothing_else) {
  KafkaTopicId id = topic_id();
  id.bytes.back() = static_cast<char>(0xfe);
  const std::string text = id.hex();
  EXPECT_EQ(text, "000102030405060708090a0b0c0d0efe");
  EXPECT_EQ(KafkaTopicId::from_hex(text), id);
  for (const char* const other :
       {"", "000102030405060708090a0b0c0d0ef", "000102030405060708090a0b0c0d0efe0", "000102030405060708090A0B0C0D0EFE",
        "000102030405060708090a0b0c0d0efg", "-00102030405060708090a0b0c0d0efe"}) {
    EXPECT_FALSE(KafkaTopicId::from_hex(other)) << other;
  }
}

TEST(KafkaWire, reads_what_it_writes) {
  WireWriter writer;
  writer.integer(int8_t{-2});
  writer.integer(int16_t{-300});
  writer.integer(int32_t{70'000});
  writer.integer(int64_t{-5'000'000'000});
  for (const uint32_t value : {0U, 127U, 128U, 16'383U, 16'384U, UINT32_MAX}) writer.uvarint(value);
  writer.compact_string(std::string(200, 'x'));
  writer.no_tags();
  const std::string frame = writer.finish();
  WireReader reader(frame);
  EXPECT_EQ(reader.integer<int32_t>(), static_cast<int32_t>(frame.size() - 4));
  EXPECT_EQ(reader.integer<int8_t>(), -2);
  EXPECT_EQ(reader.integer<int16_t>(), -300);
  EXPECT_EQ(reader.integer<int32_t>(), 70'000);
  EXPECT_EQ(reader.integer<int64_t>(), -5'000'000'000);
  for (const uint32_t value : {0U, 127U, 128U, 16'383U, 16'384U, UINT32_MAX}) EXPECT_EQ(reader.uvarint(), value);
  EXPECT_EQ(reader.compact_string(), std::string(200, 'x'));
  reader.skip_tags();
  EXPECT_TRUE(reader.at_end());
}

TEST(KafkaWire, reads_nothing_more_after_the_first_thing_that_is_not_there) {
  const std::string bytes = from_hex("0001 02");
  WireReader reader(bytes);
  EXPECT_EQ(reader.integer<int32_t>(), 0);
  EXPECT_TRUE(reader.ran_out());
  EXPECT_EQ(reader.integer<int8_t>(), 0) << "though a byte is there";
  EXPECT_FALSE(reader.good());
}

TEST(KafkaWire, refuses_a_uvarint_of_more_than_32_bits) {
  for (const char* const hex : {"ffffffff10", "8080808080 00", "ffffffffff 7f"}) {
    const std::string bytes = from_hex(hex);
    WireReader reader(bytes);
    (void)reader.uvarint();
    EXPECT_FALSE(reader.good() || reader.ran_out()) << hex;
  }
}

TEST(KafkaWire, does_not_take_a_tag_for_more_than_its_size_says) {
  const std::string bytes = from_hex("01 00 02 0001 0002");
  WireReader reader(bytes);
  reader.tags([](uint32_t, WireReader& value) { (void)value.integer<int32_t>(); });
  EXPECT_FALSE(reader.good() || reader.ran_out());
}

TEST(KafkaMessages, asks_in_the_bytes_of_kafkas_own_client) {
  const std::string header = from_hex("00000007 0008 6d696c6c72616365 00");
  const auto framed = [&](const char* api, const std::string& body) {
    std::string frame(4, 0);
    frame += from_hex(api) + header + body;
    store_big(frame.data(), static_cast<int32_t>(frame.size() - 4));
    return frame;
  };
  const std::string version = MILLRACE_VERSION;
  EXPECT_EQ(versions_request(kCorrelation, kClient),
            framed("0012 0003", from_hex("09 6d696c6c72616365") + static_cast<char>(version.size() + 1) + version +
                                    std::string(1, 0)));
  EXPECT_EQ(metadata_request("lines", kCorrelation, kClient),
            framed("0003 000c", from_hex("02 00000000000000000000000000000000 06 6c696e6573 00 00 00 00")));
  EXPECT_EQ(fetch_request(question(), kCorrelation, kClient),
            framed("0001 000d", from_hex("ffffffff 000001f4 00000001 00400000 01 00000000 ffffffff"
                                         "02 000102030405060708090a0b0c0d0e0f 02 00000002 00000003 00000000000003e8"
                                         "00000003 ffffffffffffffff 00400000 00 00 01 01 00")));
  FetchQuestion without_epoch = question();
  without_epoch.send_last_epoch = false;
  EXPECT_EQ(fetch_request(without_epoch, kCorrelation, kClient),
            with(fetch_request(question(), kCorrelation, kClient), 4 + 19 + 59, from_hex("ffffffff")));
  FetchQuestion uncommitted = question();
  uncommitted.committed = false;
  EXPECT_EQ(fetch_request(uncommitted, kCorrelation, kClient),
            with(fetch_request(question(), kCorrelation, kClient), 4 + 19 + 16, std::string(1, 0)));
}

TEST(KafkaMessages, tell_which_versions_a_broker_speaks) {
  const auto versions = parse_versions(kVersionsAnswer, kCorrelation);
  ASSERT_TRUE(versions);
  EXPECT_TRUE(versions->fetch && versions->metadata);

  const auto older = parse_versions(with(kVersionsAnswer, 11, from_hex("000c")), kCorrelation);  // Fetch 0-12
  ASSERT_TRUE(older);
  EXPECT_TRUE(!older->fetch && older->metadata);

  const auto newer = parse_versions(with(kVersionsAnswer, 16, from_hex("000d")), kCorrelation);  // Metadata 13-
  ASSERT_TRUE(newer);
  EXPECT_TRUE(newer->fetch && !newer->metadata);

  const auto ancient =
      parse_versions(from_hex("00000007 0023 00000002 0001 0000 0011 0003 0000 000c"), kCorrelation);  // answers as v0
  ASSERT_TRUE(ancient);
  EXPECT_FALSE(ancient->fetch || ancient->metadata);
}

TEST(KafkaMessages, tell_who_leads_a_topic) {
  const auto metadata = parse_metadata(kMetadataAnswer, kCorrelation, "lines");
  ASSERT_TRUE(metadata);
  ASSERT_EQ(metadata->brokers.size(), 1);
  EXPECT_EQ(metadata->brokers[0].id, 1);
  EXPECT_EQ(metadata->brokers[0].host, "127.0.0.1");
  EXPECT_EQ(metadata->brokers[0].port, 9092);
  EXPECT_EQ(metadata->error, 0);
  EXPECT_EQ(metadata->topic, topic_id());
  ASSERT_EQ(metadata->partitions.size(), 1);
  EXPECT_EQ(metadata->partitions[0].id, LogPartition(0));
  EXPECT_EQ(metadata->partitions[0].leader, 1);
  EXPECT_EQ(metadata->partitions[0].leader_epoch, 3);
  EXPECT_FALSE(parse_metadata(kMetadataAnswer, kCorrelation, "words")) << "another topic's";
}

TEST(KafkaMessages, tell_where_the_records_of_an_answer_lie) {
  const std::string frame = kFetchHead + kRecords + kNoTags;
  const auto head = head_of(frame, frame.size());
  ASSERT_TRUE(head);
  EXPECT_TRUE(head->has_partition);
  EXPECT_EQ(head->error, 0);
  EXPECT_EQ(head->partition_error, 0);
  EXPECT_EQ(head->throttle_ms, 0);
  EXPECT_THAT(head->aborted, ElementsAre(AbortedTransaction{9, Offset(990)}));
  EXPECT_EQ(head->preferred_replica, -1);
  EXPECT_EQ(head->records_at, kFetchHead.size());
  EXPECT_EQ(head->records_bytes, kRecords.size());
  const auto elsewhere = head_of(with(frame, kFetchHead.size() - 5, from_hex("00000002")), frame.size());
  EXPECT_EQ(elsewhere->preferred_replica, 2);
  const auto tail = parse_fetch_tail(kNoTags, *head);
  ASSERT_TRUE(tail);
  EXPECT_FALSE(tail->diverging);
}

TEST(KafkaMessages, tell_that_the_log_was_cut_back) {
  const auto head = head_of(kDiverging, (kDiverging + kDivergingTail).size());
  ASSERT_TRUE(head);
  EXPECT_EQ(head->records_bytes, 0);
  const auto tail = parse_fetch_tail(kDivergingTail, *head);
  ASSERT_TRUE(tail && tail->diverging);
  EXPECT_EQ(tail->diverging->epoch, 2);
  EXPECT_EQ(tail->diverging->end, Offset(880));
}

TEST(KafkaMessages, tell_of_a_quota_without_any_topic) {
  const auto head = head_of(kThrottled, kThrottled.size());
  ASSERT_TRUE(head);
  EXPECT_EQ(head->throttle_ms, 250);
  EXPECT_FALSE(head->has_partition);
  EXPECT_EQ(head->records_at + 1, kThrottled.size());
  EXPECT_TRUE(parse_fetch_tail(kThrottled.substr(head->records_at), *head));
}

TEST(KafkaMessages, pass_over_tags_that_are_not_known) {
  const std::string tags = from_hex("02 05 01 ff 07 00");
  const std::string frame =
      std::string(kFetchHead).replace(4, 1, tags) + kRecords + tags + tags + tags;  // 4: the header's tags
  const auto head = head_of(frame, frame.size());
  ASSERT_TRUE(head);
  EXPECT_EQ(frame.substr(head->records_at, head->records_bytes), kRecords);
  EXPECT_TRUE(parse_fetch_tail(tags + tags + tags, *head));
  std::string metadata = kMetadataAnswer;
  EXPECT_TRUE(parse_metadata(metadata.replace(4, 1, tags), kCorrelation, "lines"));
}

TEST(KafkaMessages, are_refused_where_they_are_cut_off) {
  for (size_t size = 0; size < kVersionsAnswer.size(); ++size) {
    EXPECT_FALSE(parse_versions(Exactly(kVersionsAnswer.substr(0, size)).view(), kCorrelation)) << size;
  }
  for (size_t size = 0; size < kMetadataAnswer.size(); ++size) {
    EXPECT_FALSE(parse_metadata(Exactly(kMetadataAnswer.substr(0, size)).view(), kCorrelation, "lines")) << size;
  }
  FetchHead head;
  head.has_partition = true;
  for (size_t size = 0; size < kDivergingTail.size(); ++size) {
    EXPECT_FALSE(parse_fetch_tail(Exactly(kDivergingTail.substr(0, size)).view(), head)) << size;
  }
}

TEST(KafkaMessages, wait_for_the_rest_of_a_head_while_the_frame_has_more) {
  for (const std::string& frame : {kFetchHead + kRecords + kNoTags, kDiverging + kDivergingTail, kThrottled}) {
    size_t head_bytes = 0;
    for (size_t size = 0; size <= frame.size(); ++size) {
      const auto head = head_of(std::string_view(frame).substr(0, size), frame.size());
      if (!head) {
        EXPECT_EQ(head.error(), NoFetchHead::kMore) << size;
        EXPECT_EQ(head_bytes, 0) << size;
        continue;
      }
      if (head_bytes == 0) head_bytes = size;
      EXPECT_EQ(head->records_at, head_bytes);
    }
    EXPECT_GT(head_bytes, 0);
    for (size_t size = 0; size < head_bytes; ++size) EXPECT_TRUE(broken(frame.substr(0, size))) << size;
  }
}

TEST(KafkaMessages, of_another_question_are_broken) {
  const std::string frame = kFetchHead + kRecords + kNoTags;
  EXPECT_FALSE(broken(frame));
  EXPECT_TRUE(broken(with(frame, 3, "\x08"))) << "correlation";
  EXPECT_TRUE(broken(with(frame, 15, "\x03"))) << "two topics";
  EXPECT_TRUE(broken(with(frame, 16, "\x01"))) << "topic";
  EXPECT_TRUE(broken(with(frame, 32, "\x03"))) << "two partitions";
  EXPECT_TRUE(broken(with(frame, 36, "\x01"))) << "partition";
  EXPECT_FALSE(parse_versions(kVersionsAnswer, 8));
  EXPECT_FALSE(parse_metadata(kMetadataAnswer, 8, "lines"));
}

TEST(KafkaMessages, with_sizes_beyond_the_frame_are_broken) {
  const std::string rest = kRecords + kNoTags;
  for (const char* const size : {"ffffffff07", "ffffffff0f", "808080808001"}) {
    EXPECT_TRUE(broken(kFetchHead.substr(0, kFetchHead.size() - 1) + from_hex(size) + rest)) << "records " << size;
    EXPECT_TRUE(broken(std::string(kFetchHead).replace(63, 1, from_hex(size)) + rest)) << "aborted " << size;
  }
  EXPECT_TRUE(broken(kFetchHead + kRecords)) << "no tail";
  EXPECT_TRUE(broken(kFetchHead + kRecords.substr(1) + kNoTags)) << "records into the tail";
  std::string many = kMetadataAnswer;
  EXPECT_FALSE(parse_metadata(many.replace(9, 1, from_hex("ffffffff0f")), kCorrelation, "lines"));
}

TEST(KafkaMessages, keep_a_long_list_of_aborted_transactions) {
  constexpr uint32_t kMany = 20'000;
  WireWriter writer;
  writer.bytes(std::string_view(kFetchHead).substr(0, 63));
  writer.compact_size(kMany);
  for (uint32_t index = 0; index < kMany; ++index) {
    writer.integer(int64_t{index});
    writer.integer(int64_t{kMany - index});
    writer.no_tags();
  }
  writer.integer(int32_t{-1});
  writer.compact_size(0);
  writer.bytes(kNoTags);
  const std::string frame = writer.finish().substr(4);
  const auto head = head_of(frame, frame.size());
  ASSERT_TRUE(head);
  ASSERT_EQ(head->aborted.size(), kMany);
  EXPECT_EQ(head->aborted.back(), (AbortedTransaction{kMany - 1, Offset(1)}));
  EXPECT_EQ(head_of(std::string_view(frame).substr(0, 512), frame.size()).error(), NoFetchHead::kMore);
}

}  // namespace
}  // namespace millrace
