// Fuzz target of unpacking: any bytes behind a batch's header are refused or unpacked, within the bound; what was
// packed comes back as it was, and does no harm when it is damaged. The first byte chooses the codec, the second one
// what is done.
#include <cstdint>
#include <string>

#include "adapters/kafka_codec.h"
#include "common/base/check.h"
#include "tests/unit/packed_batch.h"

using millrace::Compression;
using millrace::RecordBatchCursor;
using millrace::RecordBatchView;

namespace {

constexpr size_t kMostBytes = 1 << 16;

// The records of a batch, unpacked; nullopt: refused.
std::optional<std::string> unpack(Compression codec, std::string_view body) {
  static millrace::Unpacker unpacker(kMostBytes);
  static const std::string header = [] {
    millrace::RecordBatchBuilder builder;
    builder.add(millrace::Offset(0), 0, std::nullopt, std::nullopt);
    return builder.finish();
  }();
  const std::string packed = packed_batch(codec, header, body);
  RecordBatchView batch;
  CHECK(RecordBatchCursor(packed).next(batch));
  std::string out;
  if (!unpacker.append(batch, out)) {
    CHECK(out.empty());
    return std::nullopt;
  }
  CHECK_GE(out.size(), RecordBatchView::kHeaderBytes);
  CHECK_LE(out.size(), RecordBatchView::kHeaderBytes + kMostBytes);
  return out.substr(RecordBatchView::kHeaderBytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const auto codec = static_cast<Compression>(1 + data[0] % 4);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 4, size - 4);
  if (data[1] % 2 == 0) {
    (void)unpack(codec, bytes);
    return 0;
  }
  std::string packed =
      codec == Compression::kSnappy && data[1] % 4 == 1 ? millrace::xerial(bytes, 64) : pack(codec, bytes);
  if (bytes.size() < kMostBytes) CHECK(unpack(codec, packed) == bytes);
  packed[(data[2] << 8 | data[3]) % packed.size()] ^= data[3] | 1;
  (void)unpack(codec, packed);
  return 0;
}
