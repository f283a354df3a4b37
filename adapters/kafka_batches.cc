#include "adapters/kafka_batches.h"

#include <algorithm>
#include <utility>

#include "common/base/byte_order.h"
#include "common/base/check.h"

namespace millrace {
namespace {

constexpr size_t kMagicPosition = 16;  // of all formats
constexpr uint8_t kOldestFormat = 2;
constexpr size_t kFlagsPosition = 22;  // the lower byte of the attributes
constexpr char kControlFlag = 32;

// A mark's key: i16 version, i16 type.
bool is_abort_mark(const RecordBatchView& batch) {
  constexpr int16_t kAbort = 0;
  RecordCursor records(batch);
  RecordView mark;
  return batch.is_control() && records.next(mark) && mark.key.size() >= 2 * sizeof(int16_t) &&
         load_big<int16_t>(mark.key.data() + sizeof(int16_t)) == kAbort;
}

bool is_packed(const RecordBatchView& batch) {
  return batch.compression() != Compression::kNone;
}

}  // namespace

BatchWalk::BatchWalk(Offset from, int32_t last_epoch, bool committed, std::vector<AbortedTransaction> aborted)
    : committed_(committed), aborted_(std::move(aborted)), next_(from), last_epoch_(last_epoch) {
  std::ranges::sort(aborted_, {}, &AbortedTransaction::first);
}

BatchWalk::State BatchWalk::advance(std::span<char> arrived) {
  while (state_ == State::kGood) {
    const std::span<char> rest = arrived.subspan(position_);
    if (rest.size() > kMagicPosition && static_cast<uint8_t>(rest[kMagicPosition]) < kOldestFormat) {
      stop(State::kForeign, "its format is older than version 2");
      break;
    }
    RecordBatchCursor cursor({rest.data(), rest.size()});
    RecordBatchView batch;
    if (!cursor.next(batch)) {
      if (!rest.empty() && !cursor.torn()) stop(State::kCorrupt, "its header is wrong");
      break;
    }
    take(batch, rest.first(batch.bytes().size()));
  }
  return state_;
}

void BatchWalk::take(const RecordBatchView& batch, std::span<char> bytes) {
  const int32_t epoch = batch.leader_epoch();
  if (!batch.crc_matches()) return stop(State::kCorrupt, "the checksum is wrong");
  if (batch.compression() > Compression::kZstd) return stop(State::kForeign, "its codec is unknown");
  if (!batches_.empty() && batch.base_offset() < next_) return stop(State::kCorrupt, "it overlaps the one before");
  if (epoch >= 0 && epoch < last_epoch_) {
    return stop(State::kCutBack,
                "leader epoch " + std::to_string(epoch) + " follows epoch " + std::to_string(last_epoch_));
  }
  if (is_aborted(batch)) bytes[kFlagsPosition] = static_cast<char>(bytes[kFlagsPosition] | kControlFlag);
  position_ += bytes.size();
  if (epoch >= 0) last_epoch_ = epoch;
  if (batch.next_offset() <= next_) return;  // All before `from`.
  batches_.push_back(batch);
  next_ = batch.next_offset();
}

// As Kafka's own consumer: a transaction of the list is open from its first offset to its producer's next mark.
bool BatchWalk::is_aborted(const RecordBatchView& batch) {
  if (!committed_ || aborted_.empty() || batch.producer_id() < 0) return false;
  for (; begun_ < aborted_.size() && aborted_[begun_].first <= batch.last_offset(); ++begun_) {
    open_.insert(aborted_[begun_].producer_id);
  }
  if (is_abort_mark(batch)) open_.erase(batch.producer_id());
  return batch.is_transactional() && open_.contains(batch.producer_id());
}

void BatchWalk::stop(State state, std::string_view problem) {
  state_ = state;
  problem_ = "the batch at offset " + std::to_string(next_.value()) + ": ";
  problem_ += problem;
}

// Hidden batches go with their neighbours: this tells of the next one that is none.
bool BatchPieces::next_is_packed() const {
  const auto rest = batches_.subspan(index_);
  const auto shown = std::ranges::find_if_not(rest, &RecordBatchView::is_control);
  return shown != rest.end() && is_packed(*shown);
}

Status BatchPieces::take_packed(size_t wanted_bytes, BatchPiece& piece) {
  for (; more() && piece.unpacked.size() < wanted_bytes; ++index_) {
    const RecordBatchView& batch = batches_[index_];
    if (batch.is_control()) continue;
    if (!is_packed(batch)) break;
    if (Status status = unpacker_.append(batch, piece.unpacked); !status) return status;
  }
  return {};
}

void BatchPieces::take_in_place(size_t wanted_bytes, BatchPiece& piece) {
  if (!more()) return;
  const char* const begin = batches_[index_].bytes().data();
  size_t bytes = 0;
  for (; more() && bytes < wanted_bytes; ++index_) {
    const RecordBatchView& batch = batches_[index_];
    if (is_packed(batch) && !batch.is_control()) break;
    bytes += batch.bytes().size();
  }
  piece.in_place = {begin, bytes};
}

Result<BatchPiece> BatchPieces::next(size_t wanted_bytes) {
  CHECK(!finished() && wanted_bytes > 0);
  BatchPiece piece;
  if (!next_is_packed()) {
    take_in_place(wanted_bytes, piece);
  } else if (Status status = take_packed(wanted_bytes, piece); !status) {
    return std::unexpected(status.error());
  }
  piece.range = {range_.from, more() ? batches_[index_ - 1].next_offset() : range_.to};
  range_.from = piece.range.to;
  const auto records = count_records(piece.unpacked.empty() ? piece.in_place : piece.unpacked, piece.range);
  if (!records) return std::unexpected(records.error());
  if (*records == 0) return BatchPiece{piece.range, 0, {}, {}};  // It holds no memory then.
  piece.records = *records;
  return piece;
}

}  // namespace millrace
