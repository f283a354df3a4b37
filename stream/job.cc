#include "stream/job.h"

#include <xxhash.h>

namespace millrace {

StatePartition state_partition_of(std::string_view key, int32_t state_partitions) {
  const uint64_t high = XXH3_64bits(key.data(), key.size()) >> 32;
  return StatePartition(static_cast<int32_t>((high * static_cast<uint64_t>(state_partitions)) >> 32));
}

}  // namespace millrace
