// Fuzz target of what a Kafka broker answers: any bytes are refused or read. The first byte chooses the parser, the
// second one how much of a Fetch answer has arrived; the head must then be the one of the whole answer, or not yet
// there.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "adapters/fetch_answer.h"
#include "adapters/kafka_messages.h"
#include "common/base/byte_order.h"
#include "common/base/check.h"

using millrace::FetchAnswer;
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

void receive(FetchAnswer& answer, std::string_view bytes, size_t most) {
  while (answer.state() == FetchAnswer::State::kMore && !bytes.empty()) {
    const std::span<char> room = answer.room();
    CHECK(!room.empty());
    const size_t size = std::min({room.size(), bytes.size(), most});
    std::memcpy(room.data(), bytes.data(), size);
    (void)answer.arrived(size);
    bytes.remove_prefix(size);
  }
}

void check_received(std::string_view frame, size_t most) {
  static const auto blocks = std::make_shared<millrace::FetchBlocks>();
  static const auto credit = std::make_shared<millrace::ReadCredit>(1, [] {});
  std::string bytes(4, 0);
  millrace::store_big(bytes.data(), static_cast<int32_t>(frame.size()));
  bytes += frame;
  FetchAnswer at_once(FetchQuestion{}, kCorrelation, 1 << 20, blocks, credit);
  FetchAnswer in_pieces(FetchQuestion{}, kCorrelation, 1 << 20, blocks, credit);
  receive(at_once, bytes, bytes.size());
  receive(in_pieces, bytes, most);
  CHECK(at_once.state() != FetchAnswer::State::kMore && at_once.state() == in_pieces.state());
  if (at_once.state() == FetchAnswer::State::kBroken) return;
  CHECK(at_once.walk().state() == in_pieces.walk().state() && at_once.walk().next() == in_pieces.walk().next());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view answer(reinterpret_cast<const char*>(data) + 2, size - 2);
  switch (data[0] % 5) {
    case 0: (void)millrace::parse_versions(answer, kCorrelation); break;
    case 1: (void)millrace::parse_metadata(answer, kCorrelation, ""); break;
    case 2: (void)millrace::parse_fetch_tail(answer, FetchHead{.has_partition = true}); break;
    case 3: check_received(answer, 1 + data[1]); break;
    default: check_arriving(answer, answer.size() * data[1] / 255); break;
  }
  return 0;
}
