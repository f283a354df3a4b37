// Record batch: Kafka's format of version 2, the only form in which records exist before the map. It is read where
// it lies: the cursors here hand out views into the bytes they were given and copy nothing.
//
// Layout (big-endian; varint is zigzag, 7 bits a byte, least significant first):
//
//    0  i64 base offset                 8  i32 length of what follows this field
//   12  i32 partition leader epoch     16  i8  magic = 2
//   17  u32 CRC32C of all bytes from 21
//   21  i16 attributes: bits 0-2 compression, 3 timestamps are the append time, 4 transactional, 5 control
//   23  i32 last offset delta          27  i64 base timestamp, ms
//   35  i64 max timestamp, ms          43  i64 producer id, -1: none
//   51  i16 producer epoch             53  i32 base sequence
//   57  i32 number of records
//   61  records, one after the other:
//       varint length of what follows, i8 attributes, varint timestamp delta, varint offset delta,
//       varint key length (-1: null), key, varint value length (-1: null), value,
//       varint number of headers, headers
//
// Offsets in a batch ascend but may have gaps (compaction, transactions). Whoever brings bytes into the process
// verifies the CRC (log adapters do, by crc_matches()); consumers do not, and batches that an adapter packed itself
// carry no valid CRC. The cursors are safe on any bytes all the same: they never read outside and never loop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/byte_order.h"
#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace {

struct RecordView {
  Offset offset;
  int64_t timestamp_ms = 0;
  bool has_key = false;
  bool has_value = false;
  std::string_view key;    // empty if null
  std::string_view value;  // empty if null
};

enum class Compression : int8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };

// One whole batch whose header was checked by RecordBatchCursor. Valid as long as the bytes are.
class RecordBatchView {
 public:
  static constexpr size_t kHeaderBytes = 61;
  static constexpr size_t kBeforeLength = 12;  // base offset and the length itself
  static constexpr size_t kCrcBegins = 21;

  RecordBatchView() = default;

  [[nodiscard]] Offset base_offset() const { return Offset(load_big<int64_t>(at(0))); }
  [[nodiscard]] Offset last_offset() const { return Offset(base_offset().value() + last_offset_delta()); }
  [[nodiscard]] Offset next_offset() const { return last_offset().next(); }
  [[nodiscard]] int32_t last_offset_delta() const { return load_big<int32_t>(at(23)); }
  [[nodiscard]] int32_t leader_epoch() const { return load_big<int32_t>(at(12)); }
  [[nodiscard]] uint32_t crc() const { return load_big<uint32_t>(at(17)); }
  [[nodiscard]] int64_t base_timestamp_ms() const { return load_big<int64_t>(at(27)); }
  [[nodiscard]] int64_t max_timestamp_ms() const { return load_big<int64_t>(at(35)); }
  [[nodiscard]] int64_t producer_id() const { return load_big<int64_t>(at(43)); }
  [[nodiscard]] int16_t producer_epoch() const { return load_big<int16_t>(at(51)); }
  [[nodiscard]] int32_t base_sequence() const { return load_big<int32_t>(at(53)); }
  [[nodiscard]] int32_t count() const { return load_big<int32_t>(at(57)); }

  [[nodiscard]] Compression compression() const { return static_cast<Compression>(attributes() & 7); }
  [[nodiscard]] bool append_time() const { return (attributes() & 8) != 0; }
  [[nodiscard]] bool is_transactional() const { return (attributes() & 16) != 0; }
  [[nodiscard]] bool is_control() const { return (attributes() & 32) != 0; }  // its records are no user's data

  [[nodiscard]] std::string_view bytes() const { return bytes_; }
  [[nodiscard]] std::string_view body() const { return bytes_.substr(kHeaderBytes); }
  [[nodiscard]] bool crc_matches() const;

 private:
  friend class RecordBatchCursor;
  [[nodiscard]] const char* at(size_t position) const { return bytes_.data() + position; }
  [[nodiscard]] int16_t attributes() const { return load_big<int16_t>(at(21)); }

  std::string_view bytes_;  // the whole batch, at least kHeaderBytes
};

// Walks over whole batches. `next` gives false at the end or at the first bad batch; `status` tells which.
//
//   RecordBatchCursor batches(bytes);
//   for (RecordBatchView batch; batches.next(batch);) {
//     RecordCursor records(batch);
//     for (RecordView record; records.next(record);) use(record);
//     if (Status status = records.status(); !status) return status;
//   }
//   return batches.status();
class RecordBatchCursor {
 public:
  explicit RecordBatchCursor(std::string_view bytes) : bytes_(bytes) {}

  bool next(RecordBatchView& batch);

  // kCorrupt with the byte position and the base offset. Bytes that end within a batch are corrupt too, but see
  // torn(): then the position is where the last whole batch ended.
  [[nodiscard]] Status status() const;
  [[nodiscard]] bool torn() const { return torn_; }            // the bytes end within a batch
  [[nodiscard]] size_t position() const { return position_; }  // of the next batch: all before was handed out

 private:
  bool refuse(const char* problem) {
    problem_ = problem;
    return false;
  }

  std::string_view bytes_;
  size_t position_ = 0;
  const char* problem_ = nullptr;
  bool torn_ = false;
};

// Walks over the records of one uncompressed batch. Headers of records are skipped.
class RecordCursor {
 public:
  explicit RecordCursor(const RecordBatchView& batch)
      : batch_(batch),
        at_(batch.body().data()),
        end_(at_ + batch.body().size()),
        base_offset_(batch.base_offset().value()),
        base_timestamp_ms_(batch.append_time() ? batch.max_timestamp_ms() : batch.base_timestamp_ms()),
        timestamp_mask_(batch.append_time() ? 0 : ~uint64_t{0}),
        last_delta_(batch.last_offset_delta()),
        left_(batch.count()) {
    if (batch.compression() != Compression::kNone) {
      left_ = 0;
      problem_ = "the batch is compressed, which only the log adapter can undo";
    }
  }

  bool next(RecordView& record);

  // kCorrupt with the place.
  [[nodiscard]] Status status() const;

 private:
  static bool read_varint(const char*& at, const char* end, int64_t& value);
  static bool read_field(const char*& at, const char* end, bool& present, std::string_view& field);
  bool refuse(const char* problem) {
    left_ = 0;
    problem_ = problem;
    return false;
  }

  RecordBatchView batch_;
  const char* at_;
  const char* end_;
  int64_t base_offset_;
  int64_t base_timestamp_ms_;
  uint64_t timestamp_mask_;
  int64_t last_delta_;
  int64_t previous_delta_ = -1;
  int32_t left_;
  const char* problem_ = nullptr;
};

// Records with offsets in `range` among whole batches; those of control batches do not count. From the headers
// alone where a batch lies within the range. kCorrupt as the cursors say.
Result<int64_t> count_records(std::string_view batches, OffsetRange range);

// The first record of whole batches with an offset from `from` on and a timestamp from `time_ms` on; those of control
// batches do not count. none: there is no such record. kCorrupt as the cursors say.
Result<std::optional<Offset>> find_time(std::string_view batches, Offset from, int64_t time_ms);

// The producer's fields of a batch: who wrote it, for the removal of repeated appends.
struct ProducerStamp {
  int64_t id = -1;
  int16_t epoch = -1;
  int32_t base_sequence = -1;
};

// Writes one uncompressed batch, as a Kafka producer would. Reusable after finish(); allocates only when the buffer
// grows. Offsets must ascend (gaps are fine).
class RecordBatchBuilder {
 public:
  enum class Checksum { kCompute, kNone };  // kNone: for bytes that stay within the process

  explicit RecordBatchBuilder(size_t capacity = 4096) : capacity_(capacity) {}

  // Appends a record; nullopt is null.
  void add(Offset offset, int64_t timestamp_ms, std::optional<std::string_view> key,
           std::optional<std::string_view> value);
  void set_producer(ProducerStamp stamp) { stamp_ = stamp; }
  // The size that the next batch's buffer begins with.
  void set_capacity(size_t capacity) { capacity_ = capacity; }

  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] int32_t count() const { return count_; }
  [[nodiscard]] size_t bytes() const { return used_; }  // of the batch so far, with its header
  // False: the offset is too far from the first one for this batch.
  [[nodiscard]] bool reaches(Offset offset) const { return count_ == 0 || offset.value() - base_offset_ <= INT32_MAX; }

  // The batch's bytes. At least one record must have been added. Then the builder is empty, without a producer.
  std::string finish(Checksum checksum = Checksum::kCompute);

 private:
  void make_room(size_t bytes);

  size_t capacity_;
  std::string buffer_;  // its size is what is allocated; the first used_ bytes are written
  size_t used_ = 0;
  int32_t count_ = 0;
  int64_t base_offset_ = 0;
  int64_t last_offset_ = 0;
  int64_t base_timestamp_ms_ = 0;
  int64_t max_timestamp_ms_ = 0;
  ProducerStamp stamp_;
};

// --- inline: the path of every record ---

[[gnu::always_inline]] inline bool RecordCursor::read_varint(const char*& at, const char* end, int64_t& value) {
  if (at < end && *at >= 0) [[likely]] {
    const auto raw = static_cast<uint64_t>(static_cast<uint8_t>(*at++));
    value = static_cast<int64_t>((raw >> 1) ^ (0 - (raw & 1)));
    return true;
  }
  uint64_t raw = 0;
  for (int shift = 0; shift < 64 && at < end; shift += 7) {
    const auto byte = static_cast<uint8_t>(*at++);
    raw |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) {
      value = static_cast<int64_t>((raw >> 1) ^ (0 - (raw & 1)));
      return true;
    }
  }
  return false;
}

[[gnu::always_inline]] inline bool RecordCursor::read_field(const char*& at, const char* end, bool& present,
                                                            std::string_view& field) {
  int64_t size = 0;
  if (!read_varint(at, end, size) || size < -1 || size > end - at) return false;
  present = size >= 0;
  field = present ? std::string_view(at, static_cast<size_t>(size)) : std::string_view();
  at += field.size();
  return true;
}

[[gnu::always_inline]] inline bool RecordCursor::next(RecordView& record) {
  if (left_ == 0) {
    if (problem_ == nullptr && at_ != end_) problem_ = "bytes are left behind the last record";
    return false;
  }
  int64_t length = 0;
  if (!read_varint(at_, end_, length) || length < 1 || length > end_ - at_) return refuse("a record's length is wrong");
  const char* at = at_ + 1;  // The record's attributes are unused.
  at_ += length;
  int64_t timestamp_delta = 0;
  int64_t offset_delta = 0;
  if (!read_varint(at, at_, timestamp_delta) || !read_varint(at, at_, offset_delta)) {
    return refuse("a record ends within its deltas");
  }
  if (offset_delta <= previous_delta_ || offset_delta > last_delta_) return refuse("a record's offset is wrong");
  previous_delta_ = offset_delta;
  record.offset = Offset(base_offset_ + offset_delta);
  record.timestamp_ms = static_cast<int64_t>(static_cast<uint64_t>(base_timestamp_ms_) +
                                             (static_cast<uint64_t>(timestamp_delta) & timestamp_mask_));
  if (!read_field(at, at_, record.has_key, record.key)) return refuse("a record's key is wrong");
  if (!read_field(at, at_, record.has_value, record.value)) return refuse("a record's value is wrong");
  --left_;
  return true;
}

}  // namespace millrace
