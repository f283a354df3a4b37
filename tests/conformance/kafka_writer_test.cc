// KafkaWriter and librdkafka's mock brokers, which go away and refuse.
#include "adapters/kafka_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/mock_brokers.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using Written = Result<std::vector<WrittenRange>>;

constexpr int16_t kProduce = 0;  // the requests of Kafka's protocol

class KafkaWriterTest : public testing::Test {
 protected:
  // One that has seen the topic.
  std::unique_ptr<KafkaWriter> open(std::map<std::string, std::string> config = {},
                                    size_t most_bytes = KafkaWriter::kMostBytes) {
    auto writer = KafkaWriter::open({brokers_.address(), MockBrokers::kTopic, std::move(config)}, most_bytes);
    EXPECT_TRUE(writer) << writer.error();
    while (!(*writer)->health().problem.empty()) std::this_thread::yield();
    return std::move(*writer);
  }
  static std::future<Written> write(RecordWriter& writer, std::vector<KeyedRecord> records, std::string key = "") {
    std::promise<Written> promise;
    std::future<Written> answer = promise.get_future();
    writer.write({std::move(records), std::move(key)},
                 [promise = std::move(promise)](Written written) mutable { promise.set_value(std::move(written)); });
    return answer;
  }

  MockBrokers brokers_;
};

TEST_F(KafkaWriterTest, EachRequestIsAnsweredWithThePlacesOfItsRecords) {
  const auto writer = open();
  std::vector<std::future<Written>> answers;
  for (int i = 0; i < 1'000; ++i) answers.push_back(write(*writer, {{"ann", "a"}, {{}, "b"}, {"ann", "c"}}));
  std::set<std::pair<LogPartition, Offset>> places;
  std::set<LogPartition> of_ann;
  for (auto& answer : answers) {
    const Written written = answer.get();
    ASSERT_TRUE(written) << written.error();
    int64_t count = 0;
    for (const WrittenRange& range : *written) {
      count += range.count;
      if (range.count > 1) of_ann.insert(range.partition);
      for (int64_t i = 0; i < range.count; ++i) {
        EXPECT_TRUE(places.emplace(range.partition, Offset(range.first.value() + i)).second);
      }
    }
    EXPECT_EQ(count, 3);
  }
  EXPECT_EQ(places.size(), 3'000);
  EXPECT_EQ(of_ann.size(), 1);
}

TEST_F(KafkaWriterTest, WhatABrokerRefusesForAWhileIsWrittenLater) {
  const auto writer = open();
  brokers_.answer_with(kProduce, {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT});
  const Written written = write(*writer, {{"ann", "a"}}).get();
  ASSERT_TRUE(written) << written.error();
  EXPECT_EQ(written->front().first, Offset(0));
}

TEST_F(KafkaWriterTest, WhatCannotBeDeliveredInTimeIsTold) {
  const auto writer = open({{"message.timeout.ms", "300"}});
  brokers_.stop(MockBrokers::kOther);
  const Written lost = write(*writer, {{"ann", "a"}, {"ann", "b"}}).get();
  ASSERT_FALSE(lost);
  EXPECT_THAT(lost.error().message, HasSubstr("/lines: "));
  EXPECT_TRUE(lost.error().code == ErrorCode::kUnavailable || lost.error().code == ErrorCode::kTimeout) << lost.error();
}

TEST_F(KafkaWriterTest, ARecordThatIsTooLargeIsItsSendersFault) {
  const auto writer = open({{"message.max.bytes", "2000"}});
  const Written refused = write(*writer, {{"ann", std::string(3'000, 'x')}}).get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(write(*writer, {{"ann", "a"}}).get());
}

TEST_F(KafkaWriterTest, MoreThanItsBoundIsRefusedAtOnce) {
  const auto writer = open({}, 10'000);
  brokers_.answer_after(std::chrono::milliseconds(300));
  auto taken = write(*writer, {{"ann", std::string(6'000, 'x')}});
  const Written refused = write(*writer, {{"ann", std::string(6'000, 'y')}}).get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_GT(writer->health().oldest_wait, Duration::zero());
  EXPECT_TRUE(taken.get());
}

TEST_F(KafkaWriterTest, AnIdempotencyKeyNeedsATopicOfKeysAndSaysHowToMakeIt) {
  const auto writer = open();
  Written refused = write(*writer, {{"ann", "a"}}, "once").get();
  while (!refused && refused.error().code == ErrorCode::kUnavailable) {
    EXPECT_THAT(refused.error().message, HasSubstr("is not known yet"));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    refused = write(*writer, {{"ann", "a"}}, "once").get();
  }
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("--create --topic lines.keys"));
}

TEST_F(KafkaWriterTest, ATopicThatIsNotThereIsToldAndNotMade) {
  auto writer = KafkaWriter::open({brokers_.address(), "others", {}, 0, "", "--logs"});
  ASSERT_TRUE(writer) << writer.error();
  while ((*writer)->health().problem.find("does not exist") == std::string::npos) std::this_thread::yield();
  const Written refused = write(**writer, {{"ann", "a"}}).get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("create it or correct --logs"));
}

TEST_F(KafkaWriterTest, AllAreAnsweredWhenItEnds) {
  auto writer = open();
  brokers_.answer_after(std::chrono::seconds(30));
  std::vector<std::future<Written>> answers;
  for (int i = 0; i < 100; ++i) answers.push_back(write(*writer, {{std::to_string(i), "a"}}));
  writer = nullptr;
  for (auto& answer : answers) EXPECT_FALSE(answer.get());
}

TEST(KafkaWriterSettingsTest, WrongOnesAreRefused) {
  EXPECT_FALSE(KafkaWriter::open({"127.0.0.1:1", "t", {{"nosuch", "1"}}}));
  EXPECT_FALSE(KafkaWriter::open({"127.0.0.1:1", "", {}}));
}

}  // namespace
}  // namespace millrace
