#include "adapters/kafka_reader_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "tests/conformance/test_loop.h"

namespace millrace {
namespace {

using testing::HasSubstr;

Result<KafkaReaderSettings> settings_for(const std::string& brokers, std::map<std::string, std::string> config = {}) {
  return direct_reader_settings({brokers, "orders", std::move(config)});
}

TEST(KafkaReaderChoiceTest, takes_brokers_by_name_and_by_address) {
  const auto settings = settings_for("one,two:1234,10.0.0.3:9093,[::1]:9094,PLAINTEXT://five:1,");
  ASSERT_TRUE(settings) << settings.error();
  EXPECT_EQ(settings->bootstrap,
            (std::vector<HostPort>{{"one", 9092}, {"two", 1234}, {"10.0.0.3", 9093}, {"::1", 9094}, {"five", 1}}));
}

TEST(KafkaReaderChoiceTest, leaves_brokers_that_it_cannot_call_to_librdkafka) {
  for (const std::string brokers :
       {"SSL://one:9093", "SASL_PLAINTEXT://one:9093", "one:0", "one:65536", "one:x", ":1", ""}) {
    EXPECT_FALSE(settings_for(brokers)) << brokers;
  }
}

TEST(KafkaReaderChoiceTest, honours_settings_that_say_what_is_read) {
  const auto usual = settings_for("one");
  ASSERT_TRUE(usual) << usual.error();
  EXPECT_TRUE(usual->committed);
  const auto settings = settings_for("one", {{"client.id", "counter"},
                                             {"isolation.level", "read_uncommitted"},
                                             {"receive.message.max.bytes", "1000"},
                                             {"socket.keepalive.enable", "false"},
                                             {"socket.receive.buffer.bytes", "2000"},
                                             {"topic.metadata.propagation.max.ms", "3000"}});
  ASSERT_TRUE(settings) << settings.error();
  EXPECT_EQ(settings->client_id, "counter");
  EXPECT_FALSE(settings->committed);
  EXPECT_EQ(settings->most_answer_bytes, 1000u);
  EXPECT_FALSE(settings->connection.keepalive);
  EXPECT_EQ(settings->connection.receive_buffer_bytes, 2000);
  EXPECT_EQ(settings->timing.topic_may_be_away, std::chrono::seconds(3));
}

TEST(KafkaReaderChoiceTest, leaves_what_it_does_not_honour_to_librdkafka_and_names_it) {
  const std::pair<std::string, std::string> cases[] = {
      {"security.protocol", "ssl"}, {"security.protocol", "sasl_plaintext"}, {"sasl.username", "secret-name"},
      {"client.rack", "a"},         {"broker.address.family", "v4"},         {"isolation.level", "read_all"}};
  for (const auto& [name, value] : cases) {
    const auto settings = settings_for("one", {{name, value}});
    ASSERT_FALSE(settings) << name;
    EXPECT_THAT(settings.error().message, HasSubstr("'" + name + "'"));
    EXPECT_THAT(settings.error().message, testing::Not(HasSubstr("secret")));
  }
  EXPECT_TRUE(settings_for("one", {{"security.protocol", "plaintext"}, {"queued.min.messages", "7"}}));
}

TEST(KafkaReaderChoiceTest, says_why_a_source_that_is_to_be_read_directly_cannot_be) {
  TestLoop loop(TestLoop::Time::kVirtual);
  const auto open = [&](const std::string& reader) {
    return open_kafka_log({"one:1", "orders", {{kKafkaReaderSetting, reader}, {"client.rack", "a"}}}, loop);
  };
  const auto direct = open("direct");
  ASSERT_FALSE(direct);
  EXPECT_EQ(direct.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(direct.error().message, HasSubstr("millrace.reader=direct cannot be"));
  EXPECT_THAT(direct.error().message, HasSubstr("'client.rack'"));
  const auto other = open("quick");
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, HasSubstr("auto, direct or librdkafka"));
}

}  // namespace
}  // namespace millrace
