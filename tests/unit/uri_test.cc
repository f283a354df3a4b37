#include "common/model/uri.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace millrace
