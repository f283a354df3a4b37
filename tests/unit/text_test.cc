#include "common/base/text.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(TextTest, OrdinaryTextStaysAsItIs) {
  for (const std::string text : {"", "the", "naïve café", "日本語 🙂", "a\"b'c"}) EXPECT_EQ(printable(text), text);
}

TEST(TextTest, WhatCouldSteerATerminalIsEscaped) {
  EXPECT_EQ(printable("a\x1b[2Jb"), "a\\x1b[2Jb");
  EXPECT_EQ(printable("a\r\n\tb"), "a\\r\\n\\tb");
  EXPECT_EQ(printable(std::string_view("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J"),
            "\\xc2\\x9b2J");  // CSI of C1
  EXPECT_EQ(printable("a\\b"), "a\\\\b");
}

TEST(TextTest, BytesThatAreNoUtf8AreEscaped) {
  EXPECT_EQ(printable("\xff"
                      "a\xc3"),
            "\\xffa\\xc3");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xc0\x80"), "\\xc0\\x80");           // overlong
}

}  // namespace
}  // namespace millrace
