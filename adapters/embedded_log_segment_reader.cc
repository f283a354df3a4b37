#include "adapters/embedded_log_segment_reader.h"

#include <algorithm>

#include "common/model/record_batch.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

// Mapped beyond the end of an active segment, so that its growth seldom needs a new mapping.
constexpr uint64_t kMappedAhead = uint64_t{192} << 20;

}  // namespace

std::unexpected<Error> EmbeddedLogSegmentReader::bad(const std::string& problem) const {
  return fail(ErrorCode::kCorrupt, segment_path(folder_, segment_).string() + ", byte " + std::to_string(position_) +
                                       " (offset " + std::to_string(next_.value()) + "): " + problem +
                                       "; restore the file from a copy");
}

Status EmbeddedLogSegmentReader::open_segment(const Announced& announced) {
  const auto bases = list_segments(folder_);
  if (!bases) return std::unexpected(bases.error());
  const auto above = std::ranges::upper_bound(*bases, std::min(next_, announced.segment));
  if (above == bases->begin()) {
    return fail(ErrorCode::kDataLost,
                folder_.string() + " holds no segment with offset " + std::to_string(next_.value()) + " any more");
  }
  segment_ = *std::prev(above);
  mapping_ = nullptr;
  position_ = 0;
  complete_ = false;
  if (Status looked = look_at_end(announced); !looked) return looked;
  return seek();
}

Status EmbeddedLogSegmentReader::look_at_end(const Announced& announced) {
  if (!complete_) {
    complete_ = segment_ != announced.segment;
    limit_ = announced.segment_bytes;
    if (complete_) {
      std::error_code error;
      limit_ = fs::file_size(segment_path(folder_, segment_), error);
      if (error && mapping_ == nullptr)
        return io_error("cannot look at", segment_path(folder_, segment_), error.value());
      if (error) return fail(ErrorCode::kDataLost, segment_path(folder_, segment_).string() + " is gone");
    }
  }
  if (mapping_ != nullptr && mapping_->size() >= limit_) return {};
  auto mapped = FileMapping::map(segment_path(folder_, segment_), complete_ ? limit_ : limit_ + kMappedAhead);
  if (!mapped) return std::unexpected(mapped.error());
  mapping_ = std::move(*mapped);
  return {};
}

Status EmbeddedLogSegmentReader::seek() {
  RecordBatchCursor batches({mapping_->data(), limit_});
  for (RecordBatchView batch; batches.next(batch);) {
    if (batch.next_offset() > next_) break;
    position_ = batches.position();
  }
  if (Status status = batches.status(); !status) return bad(status.error().message);
  return {};
}

Result<std::optional<EmbeddedLogSegmentReader::Piece>> EmbeddedLogSegmentReader::next(const Announced& announced,
                                                                                      size_t wanted_bytes,
                                                                                      size_t most_bytes) {
  if (finished()) return std::nullopt;
  if (next_ < announced.begin || next_ > announced.end) {
    return fail(ErrorCode::kDataLost, "offset " + std::to_string(next_.value()) + " is not in " + folder_.string() +
                                          ", which holds " + std::to_string(announced.begin.value()) + " to " +
                                          std::to_string(announced.end.value()));
  }
  if (next_ == announced.end) return std::nullopt;
  if (mapping_ != nullptr) {
    if (Status looked = look_at_end(announced); !looked) return std::unexpected(looked.error());
  }
  if (mapping_ == nullptr || (complete_ && position_ >= limit_)) {
    if (Status opened = open_segment(announced); !opened) {
      mapping_ = nullptr;
      return std::unexpected(opened.error());
    }
  }
  const std::string_view rest(mapping_->data() + position_, limit_ - position_);
  RecordBatchCursor batches(rest);
  size_t size = 0;
  Offset reached = next_;
  for (RecordBatchView batch; (!until_ || reached < *until_) && batches.next(batch);) {
    if (batches.position() > (size == 0 ? most_bytes : std::min(wanted_bytes, most_bytes))) break;
    if (size > 0 ? batch.base_offset() != reached : batch.base_offset() > reached) return bad("offsets are missing");
    if (!batch.crc_matches()) return bad("the checksum of a record batch does not match");
    size = batches.position();
    reached = batch.next_offset();
  }
  if (Status status = batches.status(); !status) return bad(status.error().message);
  if (size == 0 && !rest.empty()) return std::nullopt;  // more than fits
  if (size == 0) return bad("the announced record batches are not there");
  Piece piece{mapping_, rest.substr(0, size), {next_, until_ ? std::min(reached, *until_) : reached}, 0};
  const auto records = count_records(piece.bytes, piece.range);
  if (!records) return bad(records.error().message);
  piece.records = *records;
  next_ = piece.range.to;
  position_ += size;
  return piece;
}

}  // namespace millrace
