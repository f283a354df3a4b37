// What every Log does, whatever is behind it: one suite, run on each adapter through a bed.
//
// A bed is a class with:
//   std::unique_ptr<Log> open(TaskLoop&);          a Log over its topic of two partitions, made on the loop
//   std::unique_ptr<Log> open_unknown(TaskLoop&);  one over a topic that does not exist
//   void append(EventLoop&, LogPartition, const std::vector<std::string>& values);
//   void drop_oldest(EventLoop&, LogPartition, Offset begin);  at least the records below it
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/model/record_batch.h"
#include "tests/conformance/chunk_collector.h"
#include "tests/conformance/log_fixture.h"

namespace millrace {

template <typename Bed>
class LogConformance : public LogFixture {
 public:
  static constexpr LogPartition kFirst{0};
  static constexpr LogPartition kSecond{1};

  LogConformance() {
    loop_.run_and_wait([this] { log_ = bed_.open(loop_); });
  }
  ~LogConformance() override { delete_log(); }

  void append(LogPartition partition, const std::vector<std::string>& values) { bed_.append(loop_, partition, values); }

  Bed bed_;
};

TYPED_TEST_SUITE_P(LogConformance);

TYPED_TEST_P(LogConformance, describes_its_partitions_and_how_far_they_reach) {
  this->append(this->kFirst, numbered("a", 0, 7));
  const auto description = this->describe(*this->log_);
  ASSERT_TRUE(description) << description.error();
  ASSERT_EQ(description->partitions.size(), 2u);
  EXPECT_EQ(description->partitions[0].id, LogPartition(0));
  EXPECT_EQ(description->partitions[0].begin, Offset(0));
  EXPECT_EQ(description->partitions[0].end, Offset(7));
  EXPECT_EQ(description->partitions[1].id, LogPartition(1));
  EXPECT_EQ(description->partitions[1].end, Offset(0));
}

TYPED_TEST_P(LogConformance, says_that_an_unknown_log_is_not_found) {
  std::unique_ptr<Log> unknown;
  this->loop_.run_and_wait([&] { unknown = this->bed_.open_unknown(this->loop_); });
  const auto description = this->describe(*unknown);
  this->loop_.run_and_wait([&] { unknown = nullptr; });
  ASSERT_FALSE(description);
  EXPECT_EQ(description.error().code, ErrorCode::kNotFound) << description.error();
}

TYPED_TEST_P(LogConformance, delivers_every_record_once_and_in_order) {
  for (int round = 0; round < 20; ++round) this->append(this->kFirst, numbered("v", round * 50, round * 50 + 50));
  ChunkCollector collector;
  this->open(collector, this->kFirst, 0);
  ASSERT_TRUE(collector.wait_for_records(1000)) << collector.last_error();
  EXPECT_EQ(collector.values(), numbered("v", 0, 1000));
  EXPECT_EQ(collector.ranges().front().from, Offset(0));
  EXPECT_EQ(collector.ranges().back().to, Offset(1000));
}

TYPED_TEST_P(LogConformance, delivers_what_is_appended_later) {
  ChunkCollector collector;
  this->open(collector, this->kFirst, 0);
  for (int number = 0; number < 10; ++number) {
    this->append(this->kFirst, numbered("v", number, number + 1));
    ASSERT_TRUE(collector.wait_for_records(static_cast<size_t>(number) + 1)) << collector.last_error();
  }
  EXPECT_EQ(collector.values(), numbered("v", 0, 10));
}

TYPED_TEST_P(LogConformance, begins_in_the_middle_of_what_was_appended_together) {
  this->append(this->kFirst, numbered("v", 0, 100));
  ChunkCollector collector;
  this->open(collector, this->kFirst, 37);
  ASSERT_TRUE(collector.wait_for_offset(Offset(100))) << collector.last_error();
  EXPECT_EQ(collector.values(), numbered("v", 37, 100));
  EXPECT_EQ(collector.ranges().front().from, Offset(37));
}

TYPED_TEST_P(LogConformance, ends_exactly_where_it_was_told) {
  this->append(this->kFirst, numbered("v", 0, 100));
  this->append(this->kFirst, numbered("v", 100, 200));
  for (const int until : {1, 37, 100, 150, 200}) {
    ChunkCollector collector;
    this->open(collector, this->kFirst, 0, until);
    ASSERT_TRUE(collector.wait_for_offset(Offset(until))) << collector.last_error();
    EXPECT_EQ(collector.ranges().back().to, Offset(until));
    EXPECT_EQ(collector.values(), numbered("v", 0, until));
    this->close_all();
  }
}

TYPED_TEST_P(LogConformance, waits_for_the_end_it_was_told_if_that_is_still_to_come) {
  this->append(this->kFirst, numbered("v", 0, 10));
  ChunkCollector collector;
  this->open(collector, this->kFirst, 5, 15);
  ASSERT_TRUE(collector.wait_for_records(5)) << collector.last_error();
  this->append(this->kFirst, numbered("v", 10, 20));
  ASSERT_TRUE(collector.wait_for_offset(Offset(15))) << collector.last_error();
  EXPECT_EQ(collector.values(), numbered("v", 5, 15));
}

TYPED_TEST_P(LogConformance, serves_replays_while_it_follows_the_same_partition) {
  this->append(this->kFirst, numbered("v", 0, 100));
  ChunkCollector follower;
  this->open(follower, this->kFirst, 0);
  ASSERT_TRUE(follower.wait_for_records(100)) << follower.last_error();
  for (int round = 0; round < 5; ++round) {
    ChunkCollector replay;
    const size_t reader = this->open(replay, this->kFirst, round * 10, round * 10 + 25);
    this->append(this->kFirst, numbered("v", 100 + round, 101 + round));
    ASSERT_TRUE(replay.wait_for_offset(Offset(round * 10 + 25))) << replay.last_error();
    EXPECT_EQ(replay.values(), numbered("v", round * 10, round * 10 + 25));
    ASSERT_TRUE(follower.wait_for_records(static_cast<size_t>(101 + round))) << follower.last_error();
    this->close(reader);
  }
  EXPECT_EQ(follower.values(), numbered("v", 0, 105));
}

TYPED_TEST_P(LogConformance, serves_two_replays_of_one_partition_at_once) {
  this->append(this->kFirst, numbered("v", 0, 100));
  ChunkCollector one;
  ChunkCollector two;
  this->open(one, this->kFirst, 0, 60);
  this->open(two, this->kFirst, 40, 100);
  ASSERT_TRUE(one.wait_for_offset(Offset(60))) << one.last_error();
  ASSERT_TRUE(two.wait_for_offset(Offset(100))) << two.last_error();
  EXPECT_EQ(one.values(), numbered("v", 0, 60));
  EXPECT_EQ(two.values(), numbered("v", 40, 100));
}

TYPED_TEST_P(LogConformance, gives_a_new_reader_nothing_of_a_former_one) {
  this->append(this->kFirst, numbered("v", 0, 200));
  for (const int from : {0, 150, 20, 199, 7}) {
    ChunkCollector first;
    const size_t reader = this->open(first, this->kFirst, 100);
    this->close(reader);
    ChunkCollector second;
    this->open(second, this->kFirst, from);
    ASSERT_TRUE(second.wait_for_offset(Offset(200))) << second.last_error();
    EXPECT_EQ(second.values(), numbered("v", from, 200));
    this->close_all();
  }
}

TYPED_TEST_P(LogConformance, calls_no_more_after_the_reader_was_deleted) {
  this->append(this->kFirst, numbered("v", 0, 1000));
  ChunkCollector collector;
  const size_t reader = this->open(collector, this->kFirst, 0, {}, 1000);
  ASSERT_TRUE(collector.wait_for_records(1));
  this->close(reader);
  const size_t seen = collector.ranges().size();
  ChunkCollector witness;
  this->open(witness, this->kFirst, 0);
  this->append(this->kFirst, numbered("v", 1000, 1010));
  ASSERT_TRUE(witness.wait_for_records(1010)) << witness.last_error();
  EXPECT_EQ(collector.ranges().size(), seen);
}

TYPED_TEST_P(LogConformance, keeps_the_partitions_apart) {
  ChunkCollector first;
  ChunkCollector second;
  this->open(first, this->kFirst, 0);
  this->open(second, this->kSecond, 0);
  for (int round = 0; round < 10; ++round) {
    this->append(this->kFirst, numbered("a", round * 10, round * 10 + 10));
    this->append(this->kSecond, numbered("b", round * 10, round * 10 + 10));
  }
  ASSERT_TRUE(first.wait_for_records(100)) << first.last_error();
  ASSERT_TRUE(second.wait_for_records(100)) << second.last_error();
  EXPECT_EQ(first.values(), numbered("a", 0, 100));
  EXPECT_EQ(second.values(), numbered("b", 0, 100));
}

TYPED_TEST_P(LogConformance, stops_at_the_read_ahead_and_goes_on_when_it_is_given_back) {
  constexpr size_t kReadAhead = 200'000;
  for (int round = 0; round < 20; ++round) {
    this->append(this->kFirst, numbered("v", round * 50, round * 50 + 50, 1000));
  }
  ChunkCollector collector(true);
  this->open(collector, this->kFirst, 0, {}, kReadAhead);
  ASSERT_TRUE(collector.wait_for_records(1)) << collector.last_error();
  ChunkCollector witness;  // when this one is through, the other one had its time
  this->open(witness, this->kSecond, 0);
  this->append(this->kSecond, numbered("w", 0, 100));
  ASSERT_TRUE(witness.wait_for_records(100)) << witness.last_error();
  const auto [held, largest] = collector.held_and_largest();
  EXPECT_LE(held, kReadAhead + largest);
  EXPECT_LT(collector.values().size(), 1000u);
  auto chunks = collector.release();
  this->loop_.run_and_wait([&] { chunks.clear(); });
  ASSERT_TRUE(collector.wait_for_records(1000)) << collector.last_error();
  EXPECT_EQ(collector.values(), numbered("v", 0, 1000, 1000));
}

TYPED_TEST_P(LogConformance, delivers_one_chunk_even_if_that_exceeds_the_read_ahead) {
  this->append(this->kFirst, numbered("v", 0, 10, 10'000));
  ChunkCollector collector;
  this->open(collector, this->kFirst, 0, {}, 1);
  ASSERT_TRUE(collector.wait_for_records(10)) << collector.last_error();
  EXPECT_EQ(collector.values(), numbered("v", 0, 10, 10'000));
}

TYPED_TEST_P(LogConformance, keeps_the_bytes_of_a_chunk_beyond_its_reader_and_log) {
  this->append(this->kFirst, numbered("v", 0, 10));
  ChunkCollector collector(true);
  this->open(collector, this->kFirst, 0);
  ASSERT_TRUE(collector.wait_for_records(10)) << collector.last_error();
  this->loop_.run_and_wait([&] {
    this->readers_.clear();
    this->log_ = nullptr;
  });
  auto chunks = collector.release();
  int64_t records = 0;
  for (const LogChunk& chunk : chunks) records += count_records(chunk.bytes.view(), chunk.range).value();
  EXPECT_EQ(records, 10);
  this->loop_.run_and_wait([&] { chunks.clear(); });
}

TYPED_TEST_P(LogConformance, tells_that_data_is_lost_behind_the_end) {
  this->append(this->kFirst, numbered("v", 0, 10));
  ChunkCollector collector;
  this->open(collector, this->kFirst, 11);
  EXPECT_TRUE(collector.wait_for_error(ErrorCode::kDataLost)) << collector.last_error();
}

TYPED_TEST_P(LogConformance, tells_that_data_is_lost_below_the_oldest_record) {
  this->append(this->kFirst, numbered("v", 0, 10));
  this->append(this->kFirst, numbered("v", 10, 20));
  this->bed_.drop_oldest(this->loop_, this->kFirst, Offset(10));
  ChunkCollector collector;
  this->open(collector, this->kFirst, 3);
  EXPECT_TRUE(collector.wait_for_error(ErrorCode::kDataLost)) << collector.last_error();
  EXPECT_THAT(collector.values(), testing::IsEmpty());
  const auto description = this->describe(*this->log_);
  ASSERT_TRUE(description) << description.error();
  EXPECT_GE(description->partitions[0].begin, Offset(10));
}

TYPED_TEST_P(LogConformance, finds_where_the_records_of_a_time_begin) {
  // Of several times, as far as the log sets them by itself.
  for (int round = 0; round < 5; ++round) {
    const auto before = std::chrono::system_clock::now();
    while (std::chrono::system_clock::now() - before < std::chrono::milliseconds(3)) std::this_thread::yield();
    this->append(this->kFirst, numbered("v", 3 * round, 3 * round + 3));
  }
  this->append(this->kSecond, {"one"});
  ChunkCollector collector(true);
  this->open(collector, this->kFirst, 0);
  ASSERT_TRUE(collector.wait_for_records(15)) << collector.last_error();
  std::vector<int64_t> times;
  auto chunks = collector.release();
  for (const LogChunk& chunk : chunks) {
    RecordBatchCursor batches(chunk.bytes.view());
    for (RecordBatchView batch; batches.next(batch);) {
      RecordCursor records(batch);
      for (RecordView record; records.next(record);) {
        if (record.offset == Offset(static_cast<int64_t>(times.size()))) times.push_back(record.timestamp_ms);
      }
    }
  }
  this->loop_.run_and_wait([&] { chunks.clear(); });
  this->close_all();  // A question to a broker waits behind what a reader waits for there.
  ASSERT_EQ(times.size(), 15u);
  for (const int64_t time : std::set(times.begin(), times.end())) {
    for (const int64_t asked : {time - 1, time, time + 1}) {
      const auto found = this->find_time(*this->log_, asked);
      ASSERT_TRUE(found) << found.error();
      ASSERT_EQ(found->size(), 2u);
      const auto first = std::ranges::find_if(times, [&](int64_t each) { return each >= asked; });
      EXPECT_EQ(found->at(this->kFirst), Offset(first - times.begin())) << "asked for " << asked;
    }
  }
  const auto far = this->find_time(*this->log_, times.back() + 3'600'000);
  ASSERT_TRUE(far) << far.error();
  EXPECT_EQ(*far, (LogOffsets{{this->kFirst, Offset(15)}, {this->kSecond, Offset(1)}}));
  std::unique_ptr<Log> unknown;
  this->loop_.run_and_wait([&] { unknown = this->bed_.open_unknown(this->loop_); });
  const auto none = this->find_time(*unknown, 0);
  this->loop_.run_and_wait([&] { unknown = nullptr; });
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound) << none.error();
}

TYPED_TEST_P(LogConformance, delivers_empty_and_large_records) {
  std::vector<std::string> values = {"", std::string(1 << 19, 'x'), "", "small", std::string(3 << 18, 'y')};
  for (const std::string& value : values) this->append(this->kFirst, {value});
  ChunkCollector collector;
  this->open(collector, this->kFirst, 0);
  ASSERT_TRUE(collector.wait_for_records(values.size())) << collector.last_error();
  EXPECT_EQ(collector.values(), values);
}

REGISTER_TYPED_TEST_SUITE_P(LogConformance, describes_its_partitions_and_how_far_they_reach,
                            says_that_an_unknown_log_is_not_found, delivers_every_record_once_and_in_order,
                            delivers_what_is_appended_later, begins_in_the_middle_of_what_was_appended_together,
                            ends_exactly_where_it_was_told, waits_for_the_end_it_was_told_if_that_is_still_to_come,
                            serves_replays_while_it_follows_the_same_partition,
                            serves_two_replays_of_one_partition_at_once, gives_a_new_reader_nothing_of_a_former_one,
                            calls_no_more_after_the_reader_was_deleted, keeps_the_partitions_apart,
                            stops_at_the_read_ahead_and_goes_on_when_it_is_given_back,
                            delivers_one_chunk_even_if_that_exceeds_the_read_ahead,
                            keeps_the_bytes_of_a_chunk_beyond_its_reader_and_log,
                            tells_that_data_is_lost_behind_the_end, tells_that_data_is_lost_below_the_oldest_record,
                            finds_where_the_records_of_a_time_begin, delivers_empty_and_large_records);

}  // namespace millrace
