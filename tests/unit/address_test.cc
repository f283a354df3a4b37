#include "common/model/address.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(AddressTest, HostAndPortAreReadAndWritten) {
  for (const std::string text : {"127.0.0.1:7071", "localhost:0", "[::1]:65535"}) {
    const auto address = parse_address("--api", text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->text(), text);
  }
  EXPECT_EQ(parse_address("--api", "[::1]:7")->host, "::1");
}

TEST(AddressTest, WhatIsNoAddressIsRefusedWithTheNameOfTheSetting) {
  for (const std::string text : {"", "localhost", ":7071", "a:", "a:b", "a:65536", "a:-1", "a:7 ", "::1:7071",
                                 "http://a:7071", "[]:1", "a b:1"}) {
    const auto address = parse_address("--api", text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, ErrorCode::kInvalid);
    EXPECT_TRUE(address.error().message.starts_with("--api '")) << address.error().message;
  }
}

TEST(AddressTest, LoopbackIsWhatOnlyThisMachineCanMean) {
  for (const char* host : {"localhost", "127.0.0.1", "127.255.0.9", "::1"}) EXPECT_TRUE(is_loopback(host)) << host;
  for (const char* host : {"", "0.0.0.0", "10.0.0.1", "128.0.0.1", "::", "localhost.example", "127.0.0.1.example"}) {
    EXPECT_FALSE(is_loopback(host)) << host;
  }
}

}  // namespace
}  // namespace millrace
