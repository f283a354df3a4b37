#include "worker/partition_reader.h"

#include <gtest/gtest.h>

#include "common/model/record_batch.h"

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

class SetClock final : public Clock {
 public:
  [[nodiscard]] MonotonicTime now() const override { return MonotonicTime(std::chrono::milliseconds(ms)); }
  [[nodiscard]] WallTime wall_now() const override { return {1'000'000 + ms}; }
  int64_t ms = 5000;
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

  // A record batch of one record.
  static std::shared_ptr<std::string> record(int64_t offset, int64_t time_stamp_ms) {
    RecordBatchBuilder builder;
    builder.add(Offset(offset), time_stamp_ms, std::nullopt, "a");
    return std::make_shared<std::string>(builder.finish());
  }
  // Milliseconds that the reader tells of the next chunk.
  static int64_t waited(PartitionReader& reader) {
    const auto piece = reader.take(Offset(1000));
    return piece ? to_ms(piece->waited) : -1;
  }

  ScriptedLog log;
  SetClock clock;
  std::vector<wire::FetchedPartition> boundaries;
  std::vector<std::string> troubles;
};

TEST_F(PartitionReaderTest, ReportsEachChunksEndWithWhatWasReadSinceTheBeginning) {
  PartitionReader reader(log, clock, from(10), events());
  log.chunk(10, 15, bytes("aaaaa"));
  log.chunk(15, 18, bytes("bbb"));
  ASSERT_EQ(boundaries.size(), 2u);
  EXPECT_EQ(boundaries[1].reader_from, 10);
  EXPECT_EQ(boundaries[1].to_offset, 18);
  EXPECT_EQ(boundaries[1].records, 8);
  EXPECT_EQ(boundaries[1].bytes, 8);
}

TEST_F(PartitionReaderTest, GivesOutARangeInPiecesAndReleasesWhatIsTaken) {
  PartitionReader reader(log, clock, from(10), events());
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
  PartitionReader reader(log, clock, from(0), events());
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
  PartitionReader reader(log, clock, from(0), events());
  log.handler->on_log_error(LogPartition(3), {ErrorCode::kUnavailable, "away"});
  log.chunk(0, 5, bytes("a"));
  log.chunk(5, 6, bytes("a"));
  EXPECT_EQ(troubles, (std::vector<std::string>{"away", ""}));
}

TEST_F(PartitionReaderTest, TellsHowLongItHadNothingAlthoughTheLogHad) {
  PartitionReader reader(log, clock, from(0), events());
  clock.ms += 300;
  log.chunk(0, 1, record(0, 1'000'000 + clock.ms - 40));  // appended when it had waited for long
  clock.ms += 20;
  log.chunk(1, 2, record(1, 1'000'000 + clock.ms - 15));  // something is there to be mapped meanwhile
  EXPECT_EQ(waited(reader), 40);
  EXPECT_EQ(waited(reader), 0);
  clock.ms += 50;
  log.chunk(2, 3, record(2, 1'000'000));  // appended long ago: it could have come at once
  EXPECT_EQ(waited(reader), 50);
  clock.ms += 50;
  log.chunk(3, 4, record(3, 0));  // nobody knows
  EXPECT_EQ(waited(reader), 0);
  clock.ms += 50;
  log.chunk(4, 5, record(4, 9'000'000));  // by a clock that is ahead
  EXPECT_EQ(waited(reader), 0);
}

TEST_F(PartitionReaderTest, WhatIsReadAgainIsWaitedForWhateverItsTimeStamp) {
  LogReaderOptions again = from(0);
  again.until = Offset(3);
  PartitionReader reader(log, clock, again, events());
  clock.ms += 30;
  log.chunk(0, 3, record(0, 0));
  const auto first = reader.take(Offset(1));
  ASSERT_TRUE(first);
  EXPECT_EQ(to_ms(first->waited), 30);
  EXPECT_EQ(to_ms(first->arrived.time_since_epoch()), clock.ms);
  EXPECT_EQ(waited(reader), 0) << "one chunk is told of once";
}

}  // namespace
}  // namespace millrace
