#include "common/model/hash.h"

#include <xxhash.h>

namespace millrace {

uint64_t hash_of(std::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

StatePartition state_partition_of(std::string_view key, int32_t state_partitions) {
  const uint64_t high = hash_of(key) >> 32;
  return StatePartition(static_cast<int32_t>((high * static_cast<uint64_t>(state_partitions)) >> 32));
}

}  // namespace millrace
