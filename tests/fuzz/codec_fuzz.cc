// Fuzz target of the wire's codec: any bytes are refused or decoded, within its bounds and without an exception.
// The first byte chooses what the rest is taken for; a stored record's format and checksum are put right first.
#include <xxhash.h>

#include <cstdint>
#include <string>

#include "common/wire/codec.h"

using millrace::SharedBuffer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 4 == 0) {
    (void)millrace::decode(SharedBuffer::of(std::move(bytes)));
    return 0;
  }
  bytes.insert(bytes.begin(), static_cast<char>(millrace::kRecordFormat));
  const uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
  bytes.append(reinterpret_cast<const char*>(&hash), sizeof(hash));
  switch (data[0] % 4) {
    case 1: (void)millrace::decode_record<millrace::wire::BatchRecord>(bytes); break;
    case 2: (void)millrace::decode_record<millrace::wire::Manifest>(bytes); break;
    default: (void)millrace::decode_record<millrace::wire::JobRecord>(bytes); break;
  }
  return 0;
}
