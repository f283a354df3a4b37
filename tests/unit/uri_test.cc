#include "common/model/uri.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/model/source_topics.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Uri, AllPartsAreRead) {
  const auto uri = parse_uri("redis://me:p%40ss@host:6380/2?a=b&c=d");
  ASSERT_TRUE(uri) << uri.error();
  EXPECT_EQ(uri->user, "me");
  EXPECT_EQ(uri->password, "p@ss");
  EXPECT_EQ(uri->authority, "host:6380");
  EXPECT_EQ(uri->path, "2");
  EXPECT_EQ(uri->options.at("c"), "d");
  EXPECT_EQ(uri->masked(), "redis://me:***@host:6380/2?a=b&c=d");
}

TEST(Uri, APasswordMayHoldEverySignAndIsNeverShown) {
  for (const char* password : {"se/cret", "se?cret", "se@cret", "se:cret", "se/c?r&e@t", "//secret"}) {
    const auto uri = parse_uri("redis://:" + std::string(password) + "@host:6379/1");
    ASSERT_TRUE(uri) << uri.error();
    EXPECT_EQ(uri->password, password);
    EXPECT_EQ(uri->masked(), "redis://:***@host:6379/1");
  }
  for (const char* wrong :
       {"redis:/:secret@host", "redis://:secret@", "redis://:sec/ret@host?x", "kafka://:secret@h:1/t"}) {
    const auto uri = parse_uri(wrong);
    ASSERT_FALSE(uri) << wrong;
    EXPECT_THAT(uri.error().message, Not(HasSubstr("sec"))) << wrong;
  }
}

TEST(Uri, ASourceTakesNoLoginAndNoOptions) {
  EXPECT_TRUE(parse_uri("kafka://h:1,g:2/topic"));
  EXPECT_TRUE(parse_uri("log://name"));
  EXPECT_TRUE(parse_uri("socket://h:1"));
  for (const char* wrong : {"kafka://me@h:1/t", "kafka://h:1/t?group.id=x", "log://me:p@name", "log://name?a=b",
                            "socket://me@h:1", "socket://h:1?a=b"}) {
    const auto uri = parse_uri(wrong);
    ASSERT_FALSE(uri) << wrong;
    EXPECT_THAT(uri.error().message, HasSubstr("takes no user, password or options"));
  }
}

TEST(Uri, ADirectoryIsAWholePathAndEverySignOfItStandsForItself) {
  const auto uri = parse_uri("directory:///a b/c@d:e?f=g%20");
  ASSERT_TRUE(uri) << uri.error();
  EXPECT_EQ(uri->path, "a b/c@d:e?f=g%20");
  EXPECT_EQ(uri->masked(), "directory:///a b/c@d:e?f=g%20");
  for (const char* wrong : {"directory://", "directory:///", "directory://a/b"}) {
    const auto none = parse_uri(wrong);
    ASSERT_FALSE(none) << wrong;
    EXPECT_THAT(none.error().message, HasSubstr("three slashes"));
  }
}

TEST(SourceTopics, AreNamedOnceEachInTheOrderOfTheSource) {
  EXPECT_EQ(SourceTopics::parse(*parse_uri("kafka://h:1,g:2/b,a.b_c-d"))->names(),
            (std::vector<std::string>{"b", "a.b_c-d"}));
  EXPECT_EQ(SourceTopics::of("log://a,b").names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(SourceTopics::of("socket://h:1").names().empty());
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"kafka://h:1", "no topic; expected kafka://HOST:PORT/TOPIC"},
      {"kafka://h:1/", "no topic"},
      {"kafka://h:1/a,", "a name is missing beside a comma of 'a,'; expected kafka://HOST:PORT/TOPIC,TOPIC"},
      {"kafka://h:1/,a", "a name is missing"},
      {"log://a,,b", "a name is missing beside a comma of 'a,,b'; expected log://NAME,NAME"},
      {"kafka://h:1/a,b,a", "'a' is named twice in 'a,b,a'; name each topic once"},
      {"kafka://h:1/a,b c", "'b c' is no name of a topic; Kafka takes"},
      {"kafka://h:1/a,..", "'..' is no name of a topic"},
      {"kafka://h:1/a/b", "'a/b' is no name of a topic"},
      {"kafka://h:1/" + std::string(250, 'a'), "is no name of a topic"},
      {"log://a,.b", "an embedded log's name must be 1 to 64"},
      {"log://a/b", "an embedded log has no path"}};
  for (const auto& [uri, message] : wrong) {
    const auto topics = SourceTopics::parse(*parse_uri(uri));
    ASSERT_FALSE(topics) << uri;
    EXPECT_EQ(topics.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(topics.error().message, HasSubstr(message));
    EXPECT_TRUE(SourceTopics::of(uri).names().empty());
  }
  std::string many = "log://t0";
  for (size_t topic = 1; topic <= SourceTopics::kMost; ++topic) many += ",t" + std::to_string(topic);
  EXPECT_THAT(SourceTopics::parse(*parse_uri(many)).error().message, HasSubstr("names 33 topics; a job reads at most"));
}

TEST(SourceTopics, NumberPartitionsSoThatEachTopicCanGrow) {
  EXPECT_EQ(log_partition(0, 5), LogPartition(5)) << "those of one topic keep their numbers";
  const LogPartition third = log_partition(SourceTopics::kMost - 1, kMostTopicPartitions - 1);
  EXPECT_EQ(topic_index(third), SourceTopics::kMost - 1);
  EXPECT_EQ(topic_partition(third), kMostTopicPartitions - 1);
  const SourceTopics one = SourceTopics::of("log://a");
  EXPECT_EQ(one.place(LogPartition(3)), "log partition 3");
  EXPECT_EQ(one.label(LogPartition(3)), "3");
  EXPECT_EQ(one.name_of(LogPartition(3)), "a");
  const SourceTopics two = SourceTopics::of("log://a,b");
  EXPECT_EQ(two.place(log_partition(1, 3)), "partition 3 of topic 'b'");
  EXPECT_EQ(two.label(log_partition(0, 3)), "a:3");
  EXPECT_EQ(text_of(log_partition(1, 3)), "log partition 3 of topic 2");
}

}  // namespace
}  // namespace millrace
