#include "worker/partition_reader.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

// Hands the handler out, so that the test plays the log.
class ScriptedLog final : public Log {
 public:
  void describe(std::move_only_function<void(Result<LogDescription>)>) override {}
  void find_time(int64_t, std::move_only_function<void(Result<LogOffsets>)>) override {}
  std::unique_ptr<LogReader> open(const LogReaderOptions&, LogReaderHandler* to) override {
    handler = to;
    return std::make_unique<LogReader>();
  }
  void chunk(int64_t from, int64_t to, std::shared_ptr<std::string> bytes) {
    handler->on_chunk({LogPartition(3), {Offset(from), Offset(to)}, to - from, SharedBuffer(bytes, *bytes)});
  }
  LogReaderHandler* handler = nullptr;
};

class PartitionReaderTest : public testing::Test {
 protected:
  PartitionReader::Events events() {
    return {[this](const wire::FetchedPartition& boundary) { boundaries.push_back(boundary); },
            [this](std::optional<Error> error) { troubles.push_back(error ? error->message : ""); }};
  }
  static LogReaderOptions from(int64_t offset) {
    LogReaderOptions options;
    options.partition = LogPartition(3);
    options.from = Offset(offset);
    return options;
  }
  static std::shared_ptr<std::string> bytes(const std::string& text) { return std::make_shared<std::string>(text); }

  ScriptedLog log;
  std::vector<wire::FetchedPartition> boundaries;
  std::vector<std::string> troubles;
};

TEST_F(PartitionReaderTest, ReportsEachChunksEndWithWhatWasReadSinceTheBeginning) {
  PartitionReader reader(log, from(10), events());
  log.chunk(10, 15, bytes("aaaaa"));
  log.chunk(15, 18, bytes("bbb"));
  ASSERT_EQ(boundaries.size(), 2u);
  EXPECT_EQ(boundaries[1].reader_from, 10);
  EXPECT_EQ(boundaries[1].to_offset, 18);
  EXPECT_EQ(boundaries[1].records, 8);
  EXPECT_EQ(boundaries[1].bytes, 8);
}

TEST_F(PartitionReaderTest, GivesOutARangeInPiecesAndReleasesWhatIsTaken) {
  PartitionReader reader(log, from(10), events());
  const auto first = bytes("aaaaa");
  log.chunk(10, 15, first);
  log.chunk(15, 20, bytes("bbbbb"));
  EXPECT_EQ(first.use_count(), 2);
  {
    const auto piece = reader.take(Offset(17));
    ASSERT_TRUE(piece);
    EXPECT_EQ(piece->range, (OffsetRange{Offset(10), Offset(15)}));
  }
  EXPECT_EQ(first.use_count(), 1);
  auto piece = reader.take(Offset(17));
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->range, (OffsetRange{Offset(15), Offset(17)}));
  EXPECT_FALSE(reader.take(Offset(17)));
  piece = reader.take(Offset(30));
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->range, (OffsetRange{Offset(17), Offset(20)}));
  EXPECT_FALSE(reader.take(Offset(30)));  // not read yet
}

TEST_F(PartitionReaderTest, WhatIsSkippedIsReleasedAlsoBeforeItArrives) {
  PartitionReader reader(log, from(0), events());
  log.chunk(0, 5, bytes("a"));
  reader.skip_to(Offset(12));
  EXPECT_FALSE(reader.has_data());
  log.chunk(5, 10, bytes("b"));
  EXPECT_FALSE(reader.has_data());
  log.chunk(10, 15, bytes("c"));
  const auto piece = reader.take(Offset(15));
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->range, (OffsetRange{Offset(12), Offset(15)}));
}

TEST_F(PartitionReaderTest, TroubleIsOverWhenBytesArriveAgain) {
  PartitionReader reader(log, from(0), events());
  log.handler->on_log_error(LogPartition(3), {ErrorCode::kUnavailable, "away"});
  log.chunk(0, 5, bytes("a"));
  log.chunk(5, 6, bytes("a"));
  EXPECT_EQ(troubles, (std::vector<std::string>{"away", ""}));
}

}  // namespace
}  // namespace millrace
