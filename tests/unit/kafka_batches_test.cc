#include "adapters/kafka_batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <climits>

#include "tests/unit/packed_batch.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using State = BatchWalk::State;

struct Kind {
  int64_t producer = -1;
  int16_t attributes = 0;
  Compression codec = Compression::kNone;
  int32_t epoch = -1;
};

// Records at `base` and behind it, with a key and a value of two bytes.
std::string batch(int64_t base, int count, const Kind& kind = {}) {
  RecordBatchBuilder builder;
  for (int record = 0; record < count; ++record) builder.add(Offset(base + record), 1, "ke", "va");
  builder.set_producer({kind.producer, 0, 0});
  std::string bytes = builder.finish();
  if (kind.codec != Compression::kNone) bytes = packed_batch(kind.codec, bytes);
  store_big(bytes.data() + 12, kind.epoch);
  return with_attributes(bytes, static_cast<int16_t>(kind.attributes | static_cast<int16_t>(kind.codec)));
}

std::string of_transaction(int64_t base, int count, int64_t producer, Compression codec = Compression::kNone) {
  return batch(base, count, {producer, kTransactional, codec});
}

// What was asked and answered, and the records.
struct Answer {
  std::string records;
  int64_t from = 0;
  std::vector<AbortedTransaction> aborted;
  bool committed = true;
  int32_t last_epoch = -1;
};

// A walk over records that have arrived at once, whose outcome is the same if they arrive byte by byte.
struct Walked {
  explicit Walked(Answer answer)
      : records(std::move(answer.records)),
        walk(Offset(answer.from), answer.last_epoch, answer.committed, answer.aborted) {
    std::string trickling = records;
    BatchWalk slow(Offset(answer.from), answer.last_epoch, answer.committed, answer.aborted);
    State slow_state = State::kGood;
    for (size_t size = 0; size <= trickling.size(); ++size) {
      slow_state = slow.advance(std::span(trickling).first(size));
    }
    state = walk.advance(records);
    EXPECT_EQ(state, slow_state);
    EXPECT_EQ(walk.next(), slow.next());
    EXPECT_EQ(walk.last_epoch(), slow.last_epoch());
    EXPECT_EQ(walk.problem(), slow.problem());
    EXPECT_EQ(records, trickling) << "what is hidden";
  }

  [[nodiscard]] std::vector<int64_t> begins() const {
    std::vector<int64_t> all;
    for (const RecordBatchView& found : walk.batches()) all.push_back(found.base_offset().value());
    return all;
  }
  [[nodiscard]] std::vector<int64_t> hidden() const {
    std::vector<int64_t> all;
    for (const RecordBatchView& found : walk.batches()) {
      if (found.is_control()) all.push_back(found.base_offset().value());
    }
    return all;
  }

  std::string records;
  BatchWalk walk;
  State state = State::kGood;
};

// All pieces of what was walked over, up to an offset.
std::vector<BatchPiece> pieces(const Walked& walked, int64_t from, int64_t to, size_t wanted_bytes = 1) {
  Unpacker unpacker;
  BatchPieces cut(walked.walk.batches(), {Offset(from), Offset(to)}, unpacker);
  std::vector<BatchPiece> all;
  for (int64_t next = from; !cut.finished();) {
    auto piece = cut.next(wanted_bytes);
    EXPECT_TRUE(piece) << piece.error();
    if (!piece) break;
    EXPECT_EQ(piece->range.from, Offset(next));
    EXPECT_FALSE(piece->range.empty());
    next = piece->range.to.value();
    all.push_back(std::move(*piece));
  }
  EXPECT_EQ(all.empty() ? Offset(from) : all.back().range.to, Offset(to));
  return all;
}

std::vector<std::pair<int64_t, int64_t>> ends_and_records(const std::vector<BatchPiece>& all) {
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (const BatchPiece& piece : all) pairs.emplace_back(piece.range.to.value(), piece.records);
  return pairs;
}

using Pair = std::pair<int64_t, int64_t>;

TEST(BatchWalk, takes_whole_batches_only) {
  const std::string cut_off = batch(7, 3);
  const Walked walked({.records = batch(0, 5) + batch(5, 2) + cut_off.substr(0, cut_off.size() - 1)});
  EXPECT_EQ(walked.state, State::kGood);
  EXPECT_THAT(walked.begins(), ElementsAre(0, 5));
  EXPECT_EQ(walked.walk.next(), Offset(7));
}

TEST(BatchWalk, of_nothing_or_of_less_than_a_batch_stays_where_it_is) {
  EXPECT_EQ(Walked({.from = 7}).walk.next(), Offset(7));
  const Walked walked({.records = batch(7, 3).substr(0, 60), .from = 7});
  EXPECT_EQ(walked.state, State::kGood);
  EXPECT_THAT(walked.begins(), IsEmpty());
  EXPECT_EQ(walked.walk.next(), Offset(7));
}

TEST(BatchWalk, passes_over_batches_that_end_before_its_begin_and_keeps_the_one_around_it) {
  const Walked walked({.records = batch(0, 5) + batch(5, 5) + batch(10, 5), .from = 7});
  EXPECT_EQ(walked.state, State::kGood);
  EXPECT_THAT(walked.begins(), ElementsAre(5, 10));
  EXPECT_EQ(walked.walk.next(), Offset(15));
}

TEST(BatchWalk, takes_gaps_for_granted) {
  const Walked walked({.records = batch(10, 1) + batch(20, 1), .from = 7});
  EXPECT_EQ(walked.state, State::kGood);
  EXPECT_THAT(walked.begins(), ElementsAre(10, 20));
}

TEST(BatchWalk, stops_before_a_batch_that_does_not_verify) {
  const std::string good = batch(0, 5);
  const std::string next = batch(5, 5);
  const auto changed = [&](size_t at, char value) {
    std::string bad = next;
    bad[at] = value;
    return good + bad + batch(10, 1);
  };
  const std::pair<std::string, const char*> bad_ones[] = {
      {changed(70, 'x'), "checksum"},   {changed(19, 'x'), "checksum"}, {changed(8, CHAR_MIN), "header"},
      {changed(0, CHAR_MIN), "header"}, {changed(16, 3), "header"},     {good + batch(4, 5), "overlaps"},
      {good + batch(0, 5), "overlaps"}};
  for (const auto& [records, problem] : bad_ones) {
    const Walked walked({.records = records});
    EXPECT_EQ(walked.state, State::kCorrupt) << problem;
    EXPECT_THAT(walked.begins(), ElementsAre(0)) << problem;
    EXPECT_EQ(walked.walk.next(), Offset(5)) << problem;
    EXPECT_THAT(walked.walk.problem(), HasSubstr(problem));
    EXPECT_THAT(walked.walk.problem(), HasSubstr("offset 5"));
  }
}

TEST(BatchWalk, leaves_formats_that_it_does_not_know_to_others) {
  for (const char magic : {0, 1}) {
    std::string old = batch(5, 5);
    old[16] = magic;
    const Walked walked({.records = batch(0, 5) + old});
    EXPECT_EQ(walked.state, State::kForeign);
    EXPECT_THAT(walked.begins(), ElementsAre(0));
  }
  for (const int16_t codec : {5, 6, 7}) {
    const Walked walked({.records = batch(0, 5) + batch(5, 5, {.attributes = codec})});
    EXPECT_EQ(walked.state, State::kForeign);
    EXPECT_EQ(walked.walk.next(), Offset(5));
  }
}

TEST(BatchWalk, notices_a_leader_epoch_that_falls) {
  const Walked rising(
      {.records = batch(0, 1, {.epoch = 3}) + batch(1, 1) + batch(2, 1, {.epoch = 4}), .last_epoch = 3});
  EXPECT_EQ(rising.state, State::kGood);
  EXPECT_EQ(rising.walk.last_epoch(), 4);
  const Walked falling({.records = batch(0, 1, {.epoch = 3}) + batch(1, 1) + batch(2, 1, {.epoch = 2})});
  EXPECT_EQ(falling.state, State::kCutBack);
  EXPECT_EQ(falling.walk.next(), Offset(2));
  const Walked before({.records = batch(0, 1, {.epoch = 3}), .last_epoch = 4});
  EXPECT_EQ(before.state, State::kCutBack);
}

TEST(BatchWalk, hides_what_was_aborted_and_the_marks) {
  const std::string records = of_transaction(0, 2, 9) + of_transaction(2, 2, 8) + batch(4, 2, {.producer = 9}) +
                              mark(6, 9, true) + mark(7, 8, false) + of_transaction(8, 2, 9) + mark(10, 9, false);
  const std::vector<AbortedTransaction> aborted = {{9, Offset(0)}};
  const Walked committed({.records = records, .aborted = aborted});
  EXPECT_THAT(committed.hidden(), ElementsAre(0, 6, 7, 10)) << "not 4, which is of no transaction";
  const Walked uncommitted({.records = records, .aborted = aborted, .committed = false});
  EXPECT_THAT(uncommitted.hidden(), ElementsAre(6, 7, 10));
}

TEST(BatchWalk, knows_transactions_in_any_order_and_of_strangers) {
  const std::string records = of_transaction(100, 1, 9) + mark(101, 9, true) + of_transaction(102, 1, 9) +
                              of_transaction(103, 1, 8) + mark(104, 9, true) + mark(105, 8, false) +
                              of_transaction(106, 1, 9) + mark(107, 9, false);
  const std::vector<AbortedTransaction> aborted = {
      {9, Offset(102)}, {7, Offset(50)}, {6, Offset(900)}, {9, Offset(90)}};
  EXPECT_THAT(Walked({.records = records, .from = 100, .aborted = aborted}).hidden(),
              ElementsAre(100, 101, 102, 104, 105, 107));
}

TEST(BatchPieces, tile_the_range_with_the_records_in_it) {
  const Walked walked({.records = batch(5, 5) + batch(12, 5) + batch(20, 5), .from = 7});
  EXPECT_THAT(ends_and_records(pieces(walked, 7, 25)), ElementsAre(Pair(10, 3), Pair(17, 5), Pair(25, 5)));
  EXPECT_THAT(ends_and_records(pieces(walked, 7, 25, 1 << 20)), ElementsAre(Pair(25, 13)));
  EXPECT_THAT(ends_and_records(pieces(walked, 7, 22)), ElementsAre(Pair(10, 3), Pair(17, 5), Pair(22, 2)));
  EXPECT_THAT(ends_and_records(pieces(walked, 7, 19)), ElementsAre(Pair(10, 3), Pair(19, 5))) << "up to the gap's end";
  EXPECT_THAT(ends_and_records(pieces(walked, 8, 9)), ElementsAre(Pair(9, 1)));
  EXPECT_THAT(pieces(walked, 7, 7), IsEmpty());
}

TEST(BatchPieces, without_a_record_hold_no_bytes) {
  const Walked walked(
      {.records = of_transaction(0, 5, 9) + mark(5, 9, true) + batch(8, 1), .aborted = {{9, Offset(0)}}});
  const auto all = pieces(walked, 0, 9);
  EXPECT_THAT(ends_and_records(all), ElementsAre(Pair(5, 0), Pair(6, 0), Pair(9, 1)));
  EXPECT_TRUE(all[0].in_place.empty() && all[1].in_place.empty());
  const Walked behind({.records = batch(8, 1)});
  EXPECT_THAT(ends_and_records(pieces(behind, 0, 5)), ElementsAre(Pair(5, 0))) << "nothing before the gap's end";
}

TEST(BatchPieces, lie_where_they_arrived) {
  const Walked walked({.records = batch(0, 5) + batch(5, 5) + batch(10, 5)});
  std::string joined;
  for (const BatchPiece& piece : pieces(walked, 0, 15)) {
    EXPECT_EQ(piece.in_place.data(), walked.records.data() + joined.size());
    joined += piece.in_place;
  }
  EXPECT_EQ(joined, walked.records);
}

TEST(BatchPieces, are_unpacked_where_they_are_packed) {
  for (const Compression codec : {Compression::kGzip, Compression::kSnappy, Compression::kLz4, Compression::kZstd}) {
    const Kind packed{.codec = codec};
    const Walked walked({.records = batch(0, 5) + batch(5, 5, packed) + of_transaction(10, 5, 9, codec) +
                                    mark(15, 9, true) + batch(16, 500, packed) + batch(516, 5),
                         .from = 7,
                         .aborted = {{9, Offset(10)}}});
    ASSERT_EQ(walked.state, State::kGood);
    EXPECT_THAT(walked.begins(), ElementsAre(5, 10, 15, 16, 516));
    const auto all = pieces(walked, 7, 521, 1 << 20);
    EXPECT_THAT(ends_and_records(all), ElementsAre(Pair(516, 503), Pair(521, 5)));
    EXPECT_TRUE(all[0].in_place.empty());
    EXPECT_EQ(count_records(all[0].unpacked, {Offset(7), Offset(516)}), 503);
    EXPECT_THAT(ends_and_records(pieces(walked, 7, 300)), ElementsAre(Pair(10, 3), Pair(300, 284)));
  }
}

TEST(BatchPieces, end_with_an_error_where_a_batch_does_not_unpack) {
  const std::string bad = packed_batch(Compression::kGzip, batch(5, 5), "no such thing");
  const Walked walked({.records = batch(0, 5) + bad});
  ASSERT_EQ(walked.state, State::kGood) << "its checksum is right";
  Unpacker unpacker;
  BatchPieces cut(walked.walk.batches(), {Offset(0), Offset(10)}, unpacker);
  EXPECT_TRUE(cut.next(1 << 20));
  const auto piece = cut.next(1 << 20);
  ASSERT_FALSE(piece);
  EXPECT_EQ(piece.error().code, ErrorCode::kCorrupt);
  const std::string few = packed_batch(Compression::kGzip, batch(0, 5), gzip("less than five records"));
  const Walked short_walked({.records = few});
  BatchPieces short_cut(short_walked.walk.batches(), {Offset(0), Offset(5)}, unpacker);
  EXPECT_FALSE(short_cut.next(1 << 20)) << "fewer records than it counts";
}

}  // namespace
}  // namespace millrace
