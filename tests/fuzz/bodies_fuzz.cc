// Fuzz target of a gateway's bodies, packed ones, too: any bytes are refused with a problem document or become records
// of UTF-8 within the bounds.
#include <cstdint>
#include <string_view>

#include "adapters/gunzip.h"
#include "common/base/check.h"
#include "gateway/bodies.h"
#include "stream/text.h"

using millrace::KeyedRecord;

namespace {

void check(const KeyedRecord& record) {
  CHECK(!millrace::find_invalid_utf8(record.value));
  if (record.key) CHECK(!record.key->empty() && !millrace::find_invalid_utf8(*record.key));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  if (const auto record = millrace::parse_submission(body)) check(*record);
  for (const std::string_view type : {"application/json", "application/x-ndjson", "text/plain"}) {
    const auto records = millrace::parse_records(type, body);
    CHECK(records || records.error().status / 100 == 4);
    if (!records) continue;
    CHECK(!records->empty() && records->size() <= millrace::kMostRecords);
    for (const KeyedRecord& record : *records) check(record);
  }
  constexpr size_t kMostBytes = 1000;
  if (const auto text = millrace::gunzip(body, kMostBytes)) CHECK(text->size() <= kMostBytes + 1);
  return 0;
}
