// KafkaLog::describe() where brokers are away, not ready, or refuse. On librdkafka's mock cluster: needs no broker.
#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>

#include "adapters/kafka_log.h"
#include "common/runtime/event_loop.h"
#include "tests/conformance/mock_brokers.h"

namespace millrace {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

constexpr auto kBroker = MockBrokers::kBroker;
constexpr auto kOther = MockBrokers::kOther;
constexpr auto kPartitions = MockBrokers::kPartitions;
constexpr int16_t kListOffsets = 2;  // a number of the protocol
constexpr seconds kDescribeTimeout{5};

class KafkaDescribeTest : public testing::Test {
 protected:
  KafkaDescribeTest() {
    loop_.start();
    loop_.run_and_wait([&] { log_ = KafkaLog::make({brokers_.address(), MockBrokers::kTopic, {}}, loop_).value(); });
  }
  ~KafkaDescribeTest() override {
    loop_.run_and_wait([&] { log_ = nullptr; });
  }
  std::future<Result<LogDescription>> begin_describe() {
    auto answer = std::make_shared<std::promise<Result<LogDescription>>>();
    loop_.run_and_wait(
        [&] { log_->describe([answer](Result<LogDescription> got) { answer->set_value(std::move(got)); }); });
    return answer->get_future();
  }
  Result<LogDescription> describe() { return begin_describe().get(); }

  MockBrokers brokers_;
  EventLoop loop_{"kafka-test"};
  std::unique_ptr<Log> log_;
};

// Lines of the log that hold a text, while it lives.
class LogLines : public google::LogSink {
 public:
  explicit LogLines(std::string text) : text_(std::move(text)) { google::AddLogSink(this); }
  ~LogLines() override { google::RemoveLogSink(this); }
  void send(google::LogSeverity, const char*, const char*, int, const google::LogMessageTime&, const char* message,
            size_t size) override {
    if (std::string_view(message, size).find(text_) != std::string_view::npos) ++count;
  }
  std::atomic<int> count = 0;

 private:
  const std::string text_;
};

TEST_F(KafkaDescribeTest, a_leader_that_is_away_costs_one_time_out_for_all_its_partitions) {
  brokers_.stop(kOther);
  const auto begin = std::chrono::steady_clock::now();
  const auto description = describe();
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_FALSE(description);
  EXPECT_THAT(description.error().code, testing::AnyOf(ErrorCode::kUnavailable, ErrorCode::kTimeout));
  EXPECT_THAT(description.error().message, HasSubstr("offsets of topic 'lines' on " + brokers_.address()));
  EXPECT_LT(took, kDescribeTimeout + seconds(2)) << kPartitions << " partitions";
}

TEST_F(KafkaDescribeTest, slow_brokers_are_given_more_time_with_each_question) {
  brokers_.answer_after(std::chrono::milliseconds(600));
  const auto description = describe();
  ASSERT_TRUE(description) << description.error();
  EXPECT_EQ(description->partitions.size(), static_cast<size_t>(kPartitions));
}

TEST_F(KafkaDescribeTest, no_broker_at_all_costs_one_time_out) {
  ASSERT_TRUE(describe());
  brokers_.stop(kBroker);
  brokers_.stop(kOther);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(describe());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kDescribeTimeout + seconds(2));
}

TEST_F(KafkaDescribeTest, leaders_that_do_not_know_it_yet_are_asked_again) {
  brokers_.answer_with(kListOffsets, std::vector(4, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION));
  const auto description = describe();
  ASSERT_TRUE(description) << description.error();
  EXPECT_EQ(description->partitions.size(), static_cast<size_t>(kPartitions));
}

TEST_F(KafkaDescribeTest, a_topic_that_brokers_do_not_know_yet_is_asked_for_again) {
  brokers_.answer_for_topic_with(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  auto description = begin_describe();
  EXPECT_EQ(description.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);
  brokers_.answer_for_topic_with(RD_KAFKA_RESP_ERR_NO_ERROR);
  const auto answer = description.get();
  ASSERT_TRUE(answer) << answer.error();
  EXPECT_EQ(answer->partitions.size(), static_cast<size_t>(kPartitions));
}

TEST_F(KafkaDescribeTest, a_topic_that_there_is_not_is_said_soon) {
  brokers_.answer_for_topic_with(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  const auto begin = std::chrono::steady_clock::now();
  const auto description = describe();
  ASSERT_FALSE(description);
  EXPECT_EQ(description.error().code, ErrorCode::kNotFound);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(3));
}

TEST_F(KafkaDescribeTest, a_broker_that_does_not_tell_the_cleanup_policy_hinders_nobody_and_is_named_once) {
  LogLines warnings("whether topic 'lines' on " + brokers_.address() + " is compacted");
  for (int round = 0; round < 3; ++round) {
    const auto description = describe();
    ASSERT_TRUE(description) << description.error();
    EXPECT_EQ(description->unfit, "");
  }
  EXPECT_EQ(warnings.count, 1);
}

}  // namespace
}  // namespace millrace
