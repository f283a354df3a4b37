// Fuzz target of what a Kafka broker answers: any bytes are refused or read. The first byte chooses the parser, the
// second one how much of a Fetch answer has arrived; the head must then be the one of the whole answer, or not yet
// there.
#include <cstdint>
#include <string_view>

#include "adapters/kafka_messages.h"
#include "common/base/check.h"

using millrace::FetchHead;
using millrace::FetchQuestion;
using millrace::NoFetchHead;

namespace {

constexpr int32_t kCorrelation = 0;

void check_arriving(std::string_view frame, size_t arrived) {
  const FetchQuestion question;
  const auto whole = millrace::parse_fetch_head(frame, frame.size(), question, kCorrelation);
  const auto part = millrace::parse_fetch_head(frame.substr(0, arrived), frame.size(), question, kCorrelation);
  CHECK(whole || whole.error() == NoFetchHead::kBroken);
  if (part) {
    CHECK(whole && part->records_at == whole->records_at && part->records_bytes == whole->records_bytes);
    CHECK(part->aborted == whole->aborted);
  } else if (part.error() == NoFetchHead::kBroken) {
    CHECK(!whole);
  }
  if (!whole) return;
  CHECK_LE(whole->records_at + whole->records_bytes, frame.size());
  (void)millrace::parse_fetch_tail(frame.substr(whole->records_at + whole->records_bytes), *whole);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view answer(reinterpret_cast<const char*>(data) + 2, size - 2);
  switch (data[0] % 4) {
    case 0: (void)millrace::parse_versions(answer, kCorrelation); break;
    case 1: (void)millrace::parse_metadata(answer, kCorrelation, ""); break;
    case 2: (void)millrace::parse_fetch_tail(answer, FetchHead{.has_partition = true}); break;
    default: check_arriving(answer, answer.size() * data[1] / 255); break;
  }
  return 0;
}
