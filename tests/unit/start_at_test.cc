#include "common/model/start_at.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(StartAtTest, is_a_word_a_time_or_offsets) {
  EXPECT_EQ(parse_start("earliest")->place, StartAt::Place::kEarliest);
  EXPECT_EQ(parse_start("latest")->place, StartAt::Place::kLatest);
  const auto time = parse_start("2026-11-21T20:30:05Z");
  ASSERT_TRUE(time) << time.error();
  EXPECT_EQ(time->place, StartAt::Place::kTime);
  EXPECT_EQ(time->time_ms, 1795293005000);
  EXPECT_EQ(parse_start("2024-02-29T00:00:00.007Z")->time_ms, 1709164800007);
  EXPECT_EQ(parse_start("2026-11-21T20:30:05.000Z")->time_ms, 1795293005000);
  EXPECT_EQ(parse_start("1970-01-01T00:00:00Z")->time_ms, 0);
  const auto offsets = parse_start("1=0,0=9223372036854775807");
  ASSERT_TRUE(offsets) << offsets.error();
  EXPECT_EQ(offsets->place, StartAt::Place::kOffsets);
  EXPECT_THAT(offsets->offsets,
              ElementsAre(Pair(Pair("", 0), Offset(9223372036854775807)), Pair(Pair("", 1), Offset(0))));
  const auto of_topics = parse_start("orders:1=7,a.b-c_d:0=0");
  ASSERT_TRUE(of_topics) << of_topics.error();
  EXPECT_THAT(of_topics->offsets, ElementsAre(Pair(Pair("a.b-c_d", 0), Offset(0)), Pair(Pair("orders", 1), Offset(7))));
}

TEST(StartAtTest, anything_else_is_refused_with_what_is_expected) {
  for (const std::string text : {"",
                                 "Latest",
                                 "2026-11-21",
                                 "2026-11-21T20:30:05",
                                 "2026-11-21 20:30:05Z",
                                 "2026-02-30T00:00:00Z",
                                 "2026-13-01T00:00:00Z",
                                 "2026-11-21T20:30:61Z",
                                 "2026-11-21T24:00:00Z",
                                 "2026-11-21T20:60:00Z",
                                 "9999-12-31T23:59:60Z",
                                 "2026-11-21T20:30:05+01:00",
                                 "2026-11-21T20:30:05.1Z",
                                 "2026-11-21T20:30:05,123Z",
                                 "2026-11-21T20:30:05.-12Z",
                                 "0",
                                 "0=",
                                 "=1",
                                 "0=1,",
                                 "0=-1",
                                 "-1=0",
                                 "0=1,0=2",
                                 ":0=1",
                                 "orders:=1",
                                 "orders=1",
                                 "orders:0=1,orders:0=2",
                                 "0=9223372036854775808",
                                 "0=1 ,1=2"}) {
    const auto refused = parse_start(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(refused.error().message, HasSubstr("'" + text + "' is no place to start at; write earliest"));
  }
}

}  // namespace
}  // namespace millrace
