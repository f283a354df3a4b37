// Fuzz target of the record batch: any bytes are read without harm, and what was read can be written and read again.
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/model/record_batch.h"

using millrace::Offset;
using millrace::RecordBatchBuilder;
using millrace::RecordBatchCursor;
using millrace::RecordBatchView;
using millrace::RecordCursor;
using millrace::RecordView;

namespace {

std::optional<std::string_view> field(bool present, std::string_view bytes) {
  return present ? std::optional(bytes) : std::nullopt;
}

void check_rebuilt(const RecordBatchView& batch) {
  RecordBatchBuilder builder;
  RecordCursor records(batch);
  for (RecordView record; records.next(record);) {
    CHECK(record.offset >= batch.base_offset() && record.offset <= batch.last_offset());
    builder.add(record.offset, record.timestamp_ms, field(record.has_key, record.key),
                field(record.has_value, record.value));
  }
  if (!records.status() || builder.empty()) return;
  const std::string rebuilt = builder.finish();
  RecordBatchCursor again(rebuilt);
  RecordBatchView copy;
  CHECK(again.next(copy) && copy.crc_matches());
  RecordCursor left(batch);
  RecordCursor right(copy);
  RecordView expected;
  RecordView found;
  while (left.next(expected)) {
    CHECK(right.next(found));
    CHECK(expected.offset == found.offset && expected.timestamp_ms == found.timestamp_ms);
    CHECK(expected.has_key == found.has_key && expected.key == found.key);
    CHECK(expected.has_value == found.has_value && expected.value == found.value);
  }
  CHECK(!right.next(found));
  CHECK(right.status().has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  RecordBatchCursor batches(bytes);
  for (RecordBatchView batch; batches.next(batch);) {
    (void)batch.crc_matches();
    check_rebuilt(batch);
  }
  CHECK_LE(batches.position(), size);
  (void)millrace::count_records(bytes, {Offset(1), Offset(1000)});
  return 0;
}
