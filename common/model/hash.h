// Hashes that are stored and sent.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/base/ids.h"

namespace millrace {

// XXH3-64, the hash of files, manifests and blocks.
uint64_t hash_of(std::string_view bytes);

// Where the state of a key is. Version 1 of the partition hash: the high half of the bytes' XXH3-64 times the number of
// partitions.
StatePartition state_partition_of(std::string_view key, int32_t state_partitions);

}  // namespace millrace
