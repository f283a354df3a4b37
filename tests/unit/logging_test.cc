#include "adapters/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/base/log_context.h"

namespace millrace {
namespace {

LogLine line(std::string_view message) {
  return {.level = "WARNING",
          .file = "job_rounds.cc",
          .line = 12,
          .unix_us = 1'763'863'338'000'042,
          .message = message,
          .job = "",
          .batch = 0};
}

TEST(LoggingTest, ALineOfJsonSaysWhoSaidWhatWhen) {
  const LogOptions options{.format = "json", .program = "executor", .worker = "ann:1", .job = "wc"};
  LogLine told = line("a \"b\"\nc");
  told.batch = 7;
  const std::string text = json_log_line(options, told);
  EXPECT_EQ(std::ranges::count(text, '\n'), 1);
  const auto object = nlohmann::json::parse(text);
  EXPECT_EQ(object["time"], "2025-11-23T02:02:18.000042Z");
  EXPECT_EQ(object["level"], "WARNING");
  EXPECT_EQ(object["program"], "executor");
  EXPECT_EQ(object["worker"], "ann:1");
  EXPECT_EQ(object["job"], "wc");
  EXPECT_EQ(object["batch"], 7);
  EXPECT_EQ(object["place"], "job_rounds.cc:12");
  EXPECT_EQ(object["message"], "a \"b\"\nc");
}

TEST(LoggingTest, WhatIsNotKnownIsNotThereAndBytesThatAreNoTextAreReplaced) {
  const auto object = nlohmann::json::parse(
      json_log_line({.format = "json", .program = "", .worker = "", .job = ""}, line("a \xff b")));
  EXPECT_FALSE(object.contains("job") || object.contains("batch") || object.contains("worker"));
  EXPECT_EQ(object["message"], "a \xef\xbf\xbd b");
}

TEST(LoggingTest, AnUnknownFormatIsRefusedWithThoseThatThereAre) {
  const Status started = start_logging("test", {.format = "xml", .program = "", .worker = "", .job = ""});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message, "--log_format is 'xml'; it must be text or json");
}

TEST(LoggingTest, TheInnermostContextCountsAndEndsWithItsScope) {
  const LogContext outer("wc", BatchId(1));
  {
    const LogContext inner("other", BatchId(2));
    EXPECT_EQ(LogContext::current()->job(), "other");
  }
  EXPECT_EQ(LogContext::current()->job(), "wc");
  EXPECT_EQ(LogContext::current()->batch(), BatchId(1));
}

}  // namespace
}  // namespace millrace
