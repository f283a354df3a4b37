// What lies in the records of a Fetch answer: BatchWalk finds the record batches while they arrive, BatchPieces hands
// them on. Batches stay where they were received (common/model/record_batch.h has their layout); only compressed ones
// are copied. Pure, no I/O; all of it belongs to one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/kafka_codec.h"
#include "adapters/kafka_messages.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/record_batch.h"

namespace millrace {

// Takes batches as soon as they are whole, with their checksum verified. What nobody may see (marks of transactions
// and, where only committed records are asked for, batches of aborted ones) is hidden: it becomes a control batch, by a
// bit in its header, and all who read batches pass over those. Its checksum is wrong then, but nobody asks for it
// again.
class BatchWalk {
 public:
  enum class State {
    kGood,     // all that is whole was taken; bytes of a batch may be left
    kCorrupt,  // the batch at next() does not verify: ask for it once more
    kForeign,  // the batch at next() is of an older format or an unknown codec, which librdkafka may read
    kCutBack,  // the batch at next() is of an older epoch than the one before: the log is not the one that was read
  };

  // `last_epoch` is the one of the record before `from`, -1: not known. `committed`, `aborted`: as asked and answered.
  BatchWalk(Offset from, int32_t last_epoch, bool committed, std::vector<AbortedTransaction> aborted);

  // `arrived`: all records that have arrived, at the same address each time. What was good stays so in any state; but
  // for kGood a state stays.
  State advance(std::span<char> arrived);
  [[nodiscard]] State state() const { return state_; }

  // Those that end behind `from`, one behind the other. The first one may begin before it.
  [[nodiscard]] std::span<const RecordBatchView> batches() const { return batches_; }
  [[nodiscard]] Offset next() const { return next_; }  // to ask for then
  [[nodiscard]] int32_t last_epoch() const { return last_epoch_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }  // of a state that is not good

 private:
  void take(const RecordBatchView& batch, std::span<char> bytes);
  bool is_aborted(const RecordBatchView& batch);
  void stop(State state, std::string_view problem);

  // Constant.
  const bool committed_;
  std::vector<AbortedTransaction> aborted_;  // by their first offsets

  size_t position_ = 0;     // in what arrives, of the next batch
  size_t begun_ = 0;        // of aborted_: those that begin before the next batch
  std::set<int64_t> open_;  // producers within an aborted transaction
  std::vector<RecordBatchView> batches_;
  Offset next_;
  int32_t last_epoch_;
  State state_ = State::kGood;
  std::string problem_;
};

// Consecutive whole batches that are handed on at once, none of them compressed (but for hidden ones). The records of
// interest are those with offsets in `range`.
struct BatchPiece {
  OffsetRange range;
  int64_t records = 0;        // in `range`; hidden ones do not count
  std::string_view in_place;  // among the bytes of the walk
  std::string unpacked;       // or here. Both are empty where there are no records
};

// Cuts batches of a walk into pieces whose ranges tile a given one. A batch is unpacked no earlier than its piece is
// asked for.
class BatchPieces {
 public:
  // `batches` and `unpacker` have to outlive it.
  BatchPieces(std::span<const RecordBatchView> batches, OffsetRange range, Unpacker& unpacker)
      : batches_(batches), unpacker_(unpacker), range_(range) {}

  [[nodiscard]] bool finished() const { return range_.empty(); }

  // The next one, unless finished. It ends with the batch by which it has `wanted_bytes`. kCorrupt: a batch does not
  // unpack, or its records do not verify.
  Result<BatchPiece> next(size_t wanted_bytes);

 private:
  [[nodiscard]] bool more() const { return index_ < batches_.size() && batches_[index_].base_offset() < range_.to; }
  [[nodiscard]] bool next_is_packed() const;
  Status take_packed(size_t wanted_bytes, BatchPiece& piece);
  void take_in_place(size_t wanted_bytes, BatchPiece& piece);

  const std::span<const RecordBatchView> batches_;
  Unpacker& unpacker_;
  OffsetRange range_;  // what is left
  size_t index_ = 0;
};

}  // namespace millrace
