// Fuzz target of the shuffle block: any bytes are refused or read, and what was read is encoded to the same bytes.
// The checksum is put right first, since no fuzzer finds one.
#include <xxhash.h>

#include <cstdint>
#include <string>

#include "common/base/check.h"
#include "common/model/shuffle_block.h"

using millrace::SharedBuffer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  (void)millrace::decode_shuffle_block(SharedBuffer::of(bytes));
  const uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
  bytes.append(reinterpret_cast<const char*>(&hash), sizeof(hash));
  const auto block = millrace::decode_shuffle_block(SharedBuffer::of(bytes));
  if (!block) return 0;
  CHECK(millrace::encode_shuffle_block(*block).view() == bytes);
  (void)block->fingerprint();
  return 0;
}
