// Requests with an idempotency key on a real broker: each is stored once, whichever writer gets it how often, and
// whoever ends when. Needs MILLRACE_KAFKA=HOST:PORT, as kafka_log_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/kafka_request_keys.h"
#include "adapters/kafka_transactions.h"
#include "adapters/kafka_writer.h"
#include "tests/conformance/kafka_broker.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using Written = Result<std::vector<WrittenRange>>;

constexpr int kPartitions = 3;
constexpr size_t kMostTopicBytes = 100'000;

class KafkaOnceTest : public testing::Test {
 protected:
  KafkaOnceTest() { make_topic_named(keys_, 2); }

  // One that has seen the topic and its keys.
  [[nodiscard]] std::unique_ptr<KafkaWriter> open(std::map<std::string, std::string> config = {}) const {
    auto writer = KafkaWriter::open({brokers(), topic_, std::move(config)});
    EXPECT_TRUE(writer) << writer.error();
    while (!(*writer)->health().problem.empty()) std::this_thread::yield();
    return std::move(*writer);
  }
  static std::future<Written> write(RecordWriter& writer, const std::string& key, std::vector<KeyedRecord> records) {
    std::promise<Written> promise;
    std::future<Written> answer = promise.get_future();
    writer.write({std::move(records), key},
                 [promise = std::move(promise)](Written written) mutable { promise.set_value(std::move(written)); });
    return answer;
  }
  static std::vector<KeyedRecord> records_of(const std::string& key) {
    return {{{}, key + " one"}, {"ann", key + " two"}, {"bob", key + " three"}};
  }
  // Each of the requests is in the topic once, where its answer says.
  void expect_once(const std::map<std::string, std::vector<WrittenRange>>& answers) const {
    std::map<std::pair<int32_t, int64_t>, std::string> places;
    std::map<std::string, int> times;
    for (const CommittedRecord& record : read_committed(topic_, kPartitions)) {
      places[{record.partition, record.offset}] = record.value;
      ++times[record.value];
    }
    EXPECT_EQ(times.size(), 3 * answers.size());
    for (const auto& [value, count] : times) EXPECT_EQ(count, 1) << value;
    for (const auto& [key, ranges] : answers) {
      int64_t records = 0;
      for (const WrittenRange& range : ranges) {
        for (int64_t i = 0; i < range.count; ++i, ++records) {
          EXPECT_THAT((places[{range.partition.value(), range.first.value() + i}]), HasSubstr(key + " "));
        }
      }
      EXPECT_EQ(records, 3) << key;
    }
  }

  const std::string topic_ = make_topic("once", kPartitions, {{"max.message.bytes", std::to_string(kMostTopicBytes)}});
  const std::string keys_ = topic_ + ".keys";
};

TEST_F(KafkaOnceTest, ARequestThatComesAgainIsAnsweredAsTheFirstTimeByAnyWriter) {
  const auto first = open();
  const Written written = write(*first, "k", records_of("k")).get();
  ASSERT_TRUE(written) << written.error();
  const auto other = open();
  for (const auto* writer : {&first, &other, &first}) {
    const Written again = write(**writer, "k", records_of("k")).get();
    ASSERT_TRUE(again) << again.error();
    EXPECT_EQ(KafkaRequestKeys::to_text(*again), KafkaRequestKeys::to_text(*written));
  }
  expect_once({{"k", *written}});
}

// Both of two writers get each request, again and again put out by the other.
TEST_F(KafkaOnceTest, TwoWritersThatTakePartitionsFromEachOtherStoreEachRequestOnce) {
  const auto one = open();
  const auto two = open();
  std::map<std::string, std::vector<WrittenRange>> answers;
  for (int round = 0; round < 5; ++round) {
    std::vector<std::pair<std::string, std::future<Written>>> waiting;
    for (int i = 0; i < 40; ++i) {
      const std::string key = "r" + std::to_string(round) + "k" + std::to_string(i);
      waiting.emplace_back(key, write(*one, key, records_of(key)));
      waiting.emplace_back(key, write(*two, key, records_of(key)));
      waiting.emplace_back(key, write(*one, key, records_of(key)));
    }
    for (auto& [key, future] : waiting) {
      const Written written = future.get();
      ASSERT_TRUE(written) << key << ": " << written.error();
      const auto [known, is_first] = answers.emplace(key, *written);
      if (is_first) continue;
      EXPECT_EQ(KafkaRequestKeys::to_text(known->second), KafkaRequestKeys::to_text(*written)) << key;
    }
  }
  expect_once(answers);
}

TEST_F(KafkaOnceTest, WhatAWriterHadUnderWayWhenItEndedIsSentAgainWithoutHarm) {
  std::map<std::string, std::vector<WrittenRange>> answers;
  for (int round = 0; round < 4; ++round) {
    std::vector<std::pair<std::string, std::future<Written>>> waiting;
    auto ending = open();
    for (int i = 0; i < 60; ++i) {
      const std::string key = "r" + std::to_string(round) + "k" + std::to_string(i);
      waiting.emplace_back(key, write(*ending, key, records_of(key)));
      if (i == 15 * round) waiting.front().second.wait();
    }
    ending = nullptr;
    const auto heir = open();
    for (auto& [key, future] : waiting) {
      const Written told = future.get();
      const Written written = write(*heir, key, records_of(key)).get();
      ASSERT_TRUE(written) << key << ": " << written.error();
      answers.emplace(key, *written);
      if (!told) continue;
      EXPECT_EQ(KafkaRequestKeys::to_text(*told), KafkaRequestKeys::to_text(*written)) << key;
    }
  }
  expect_once(answers);
}

// As a gateway that is killed in the middle of a transaction.
TEST_F(KafkaOnceTest, AnOpenTransactionOfADeadOwnerIsEndedByTheNext) {
  const std::atomic<bool> never = false;
  for (int partition = 0; partition < 2; ++partition) {
    KafkaTransactions half(
        {brokers(), topic_, {}}, {topic_, keys_},
        [](auto, const std::string& text) { return Error{ErrorCode::kUnavailable, text}; }, std::chrono::seconds(20),
        never);
    ASSERT_TRUE(half.start("millrace-" + keys_ + "-" + std::to_string(partition), {}));
    ASSERT_TRUE(half.begin());
    for (const KeyedRecord& record : records_of("k")) {
      ASSERT_TRUE(half.give(0, {.key = record.key, .value = record.value}));
    }
    const LogPartition place(partition);
    ASSERT_TRUE(half.give(1, {.key = "k", .value = "1 0:0+3", .partition = place}));
    ASSERT_TRUE(half.deliver());
  }
  const auto heir = open();
  const Written written = write(*heir, "k", records_of("k")).get();
  ASSERT_TRUE(written) << written.error();
  // Of the other partition of keys, whose transaction holds readers up until somebody comes there.
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(write(*heir, std::to_string(i), {{{}, "x"}}).get());
  int times = 0;
  for (const CommittedRecord& record : read_committed(topic_, kPartitions)) times += record.value == "k one" ? 1 : 0;
  EXPECT_EQ(times, 1);
}

TEST_F(KafkaOnceTest, ARecordThatIsTooLargeIsRefusedAndTheOthersAreStored) {
  struct {
    std::map<std::string, std::string> config;
    size_t bytes;
  } const by_client{{{"message.max.bytes", "20000"}}, 20'001}, by_broker{{}, kMostTopicBytes};
  std::map<std::string, std::vector<WrittenRange>> answers;
  for (const auto& [config, bytes] : {by_client, by_broker}) {
    const auto writer = open(config);
    std::vector<std::pair<std::string, std::future<Written>>> waiting;
    for (int i = 0; i < 12; ++i) {
      const std::string key = std::to_string(bytes) + "k" + std::to_string(i);
      auto records = records_of(key);
      if (i % 6 == 3) records[1].value.append(bytes, 'x');
      waiting.emplace_back(key, write(*writer, key, std::move(records)));
    }
    for (int i = 0; i < 12; ++i) {
      const auto& key = waiting[i].first;
      const Written written = waiting[i].second.get();
      if (i % 6 != 3) {
        ASSERT_TRUE(written) << key << ": " << written.error();
        answers.emplace(key, *written);
        continue;
      }
      ASSERT_FALSE(written) << key;
      EXPECT_EQ(written.error().code, ErrorCode::kInvalid) << written.error();
      EXPECT_THAT(written.error().message, HasSubstr("max.message.bytes"));
    }
  }
  expect_once(answers);
}

TEST_F(KafkaOnceTest, RequestsWithoutAKeyGoBesideThem) {
  const auto writer = open();
  std::vector<std::future<Written>> waiting;
  for (int i = 0; i < 100; ++i) {
    waiting.push_back(write(*writer, i % 2 == 0 ? "k" + std::to_string(i) : "", {{"ann", std::to_string(i)}}));
  }
  for (auto& future : waiting) ASSERT_TRUE(future.get());
  EXPECT_EQ(read_committed(topic_, kPartitions).size(), 100);
}

TEST(KafkaRequestKeysTest, PlacesAreReadAsTheyWereWritten) {
  const std::vector<WrittenRange> places = {{LogPartition(0), Offset(7), 2}, {LogPartition(12), Offset(0), 1}};
  EXPECT_EQ(KafkaRequestKeys::to_text(places), "1 0:7+2 12:0+1");
  const auto read = KafkaRequestKeys::from_text("1 0:7+2 12:0+1");
  ASSERT_TRUE(read);
  EXPECT_EQ(KafkaRequestKeys::to_text(*read), "1 0:7+2 12:0+1");
  for (const char* const wrong :
       {"", "1", "2 0:7+2", "1 0:7", "1 0:7+", "1 x:7+2", "1 0:-7+2", "1 0:7+2,", "1 99999999999:0+1"}) {
    EXPECT_FALSE(KafkaRequestKeys::from_text(wrong)) << wrong;
  }
}

TEST(KafkaRequestKeysTest, AKeyIsForgottenAfterItsSpan) {
  const std::atomic<bool> never = false;
  KafkaRequestKeys keys({.topic = {}, .partition = LogPartition(0), .span = std::chrono::seconds(10), .most = 2},
                        never);
  const KafkaRequestKeys::Time begin{};
  keys.add("a", {}, begin);
  keys.add("b", {}, begin + std::chrono::seconds(5));
  EXPECT_TRUE(keys.full());
  keys.forget_old(begin + std::chrono::seconds(10));
  EXPECT_NE(keys.find("a"), nullptr);
  keys.forget_old(begin + std::chrono::seconds(11));
  EXPECT_EQ(keys.find("a"), nullptr);
  EXPECT_NE(keys.find("b"), nullptr);
  EXPECT_FALSE(keys.full());
}

}  // namespace
}  // namespace millrace
