#include "common/model/record_batch.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "common/base/check.h"
#include "common/model/crc32c.h"

namespace millrace {
namespace {

constexpr int8_t kMagic = 2;
constexpr size_t kSmallestRecord = 7;  // length, attributes, two deltas, two null fields, number of headers
constexpr size_t kMostVarints = 48;    // of one record: more than its integers can take
constexpr size_t kLargestBatch = size_t{1} << 30;

uint64_t zigzag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}

size_t varint_size(int64_t value) {
  return (static_cast<size_t>(std::bit_width(zigzag(value) | 1)) + 6) / 7;
}

char* write_varint(char* to, int64_t value) {
  uint64_t raw = zigzag(value);
  for (; raw >= 0x80; raw >>= 7) *to++ = static_cast<char>(raw | 0x80);
  *to++ = static_cast<char>(raw);
  return to;
}

char* write_field(char* to, const std::optional<std::string_view>& field) {
  if (!field) return write_varint(to, -1);
  to = write_varint(to, static_cast<int64_t>(field->size()));
  if (!field->empty()) std::memcpy(to, field->data(), field->size());
  return to + field->size();
}

size_t field_size(const std::optional<std::string_view>& field) {
  return field ? varint_size(static_cast<int64_t>(field->size())) + field->size() : 1;
}

}  // namespace

bool RecordBatchView::crc_matches() const {
  return crc32c(bytes_.substr(kCrcBegins)) == crc();
}

bool RecordBatchCursor::next(RecordBatchView& batch) {
  if (problem_ != nullptr) return false;
  const std::string_view rest = bytes_.substr(position_);
  if (rest.empty()) return false;
  if (rest.size() < RecordBatchView::kHeaderBytes) {
    torn_ = true;
    return refuse("the bytes end within a header");
  }
  constexpr size_t kShortest = RecordBatchView::kHeaderBytes - RecordBatchView::kBeforeLength;
  const auto length = load_big<int32_t>(rest.data() + 8);
  if (length < 0 || static_cast<size_t>(length) < kShortest) return refuse("the length is wrong");
  if (rest[16] != kMagic) return refuse("the format is not version 2");
  const size_t size = RecordBatchView::kBeforeLength + static_cast<size_t>(length);
  if (size > rest.size()) {
    torn_ = true;
    return refuse("the bytes end within a batch");
  }
  RecordBatchView found;
  found.bytes_ = rest.substr(0, size);
  const int64_t base = found.base_offset().value();
  const int32_t last_delta = found.last_offset_delta();
  if (last_delta < 0 || base < 0 || base >= std::numeric_limits<int64_t>::max() - last_delta) {
    return refuse("the offsets are wrong");
  }
  const int32_t count = found.count();
  if (count < 0 || int64_t{count} > int64_t{last_delta} + 1) return refuse("the number of records is wrong");
  if (found.compression() == Compression::kNone && static_cast<size_t>(count) > found.body().size() / kSmallestRecord) {
    return refuse("the number of records is wrong");
  }
  batch = found;
  position_ += size;
  return true;
}

Status RecordBatchCursor::status() const {
  if (problem_ == nullptr) return {};
  const std::string_view rest = bytes_.substr(position_);
  std::string place = "record batch at byte " + std::to_string(position_);
  if (rest.size() >= sizeof(int64_t)) {
    place += " (offset " + std::to_string(load_big<int64_t>(rest.data())) + ")";
  }
  return fail(ErrorCode::kCorrupt, place + ": " + problem_);
}

Status RecordCursor::status() const {
  if (problem_ == nullptr) return {};
  return fail(ErrorCode::kCorrupt, "record batch at offset " + std::to_string(base_offset_) + ", behind offset " +
                                       std::to_string(base_offset_ + previous_delta_) + ": " + problem_);
}

Result<int64_t> count_records(std::string_view bytes, OffsetRange range) {
  int64_t total = 0;
  RecordBatchCursor batches(bytes);
  for (RecordBatchView batch; batches.next(batch);) {
    if (batch.is_control() || batch.next_offset() <= range.from || batch.base_offset() >= range.to) continue;
    if (batch.base_offset() >= range.from && batch.next_offset() <= range.to) {
      total += batch.count();
      continue;
    }
    RecordCursor records(batch);
    for (RecordView record; records.next(record);) total += range.contains(record.offset) ? 1 : 0;
    if (Status status = records.status(); !status) return std::unexpected(status.error());
  }
  if (Status status = batches.status(); !status) return std::unexpected(status.error());
  return total;
}

Result<std::optional<Offset>> find_time(std::string_view bytes, Offset from, int64_t time_ms) {
  RecordBatchCursor batches(bytes);
  for (RecordBatchView batch; batches.next(batch);) {
    if (batch.is_control() || batch.next_offset() <= from || batch.max_timestamp_ms() < time_ms) continue;
    RecordCursor records(batch);
    for (RecordView record; records.next(record);) {
      if (record.offset >= from && record.timestamp_ms >= time_ms) return record.offset;
    }
    if (Status status = records.status(); !status) return std::unexpected(status.error());
  }
  if (Status status = batches.status(); !status) return std::unexpected(status.error());
  return std::nullopt;
}

void RecordBatchBuilder::make_room(size_t bytes) {
  const size_t needed = used_ + bytes;
  if (needed <= buffer_.size()) return;
  CHECK_LE(needed, kLargestBatch) << "a record batch must be cut earlier";
  const size_t size = std::max({needed, capacity_, buffer_.size() * 2});
  buffer_.resize_and_overwrite(size, [size](char*, size_t) { return size; });
}

void RecordBatchBuilder::add(Offset offset, int64_t timestamp_ms, std::optional<std::string_view> key,
                             std::optional<std::string_view> value) {
  if (count_ == 0) {
    used_ = RecordBatchView::kHeaderBytes;
    base_offset_ = offset.value();
    base_timestamp_ms_ = max_timestamp_ms_ = timestamp_ms;
  } else {
    CHECK(offset.value() > last_offset_ && reaches(offset)) << "offset " << offset << " after " << last_offset_;
  }
  last_offset_ = offset.value();
  max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
  const auto timestamp_delta =
      static_cast<int64_t>(static_cast<uint64_t>(timestamp_ms) - static_cast<uint64_t>(base_timestamp_ms_));
  const int64_t offset_delta = offset.value() - base_offset_;
  const size_t length =
      1 + varint_size(timestamp_delta) + varint_size(offset_delta) + field_size(key) + field_size(value) + 1;
  make_room(length + kMostVarints);
  char* to = write_varint(buffer_.data() + used_, static_cast<int64_t>(length));
  *to++ = 0;  // attributes
  to = write_varint(to, timestamp_delta);
  to = write_varint(to, offset_delta);
  to = write_field(to, key);
  to = write_field(to, value);
  *to++ = 0;  // headers
  used_ = static_cast<size_t>(to - buffer_.data());
  ++count_;
}

std::string RecordBatchBuilder::finish(Checksum checksum) {
  CHECK_GT(count_, 0);
  buffer_.resize(used_);
  char* const header = buffer_.data();
  store_big(header, base_offset_);
  store_big(header + 8, static_cast<int32_t>(used_ - RecordBatchView::kBeforeLength));
  store_big(header + 12, int32_t{-1});
  header[16] = kMagic;
  store_big(header + 21, int16_t{0});
  store_big(header + 23, static_cast<int32_t>(last_offset_ - base_offset_));
  store_big(header + 27, base_timestamp_ms_);
  store_big(header + 35, max_timestamp_ms_);
  store_big(header + 43, stamp_.id);
  store_big(header + 51, stamp_.epoch);
  store_big(header + 53, stamp_.base_sequence);
  store_big(header + 57, count_);
  const std::string_view covered = std::string_view(buffer_).substr(RecordBatchView::kCrcBegins);
  store_big(header + 17, checksum == Checksum::kCompute ? crc32c(covered) : uint32_t{0});
  used_ = 0;
  count_ = 0;
  stamp_ = {};
  return std::move(buffer_);
}

}  // namespace millrace
