// two_sum: the oracle's job. Per word the count and the sum of a hash of each place where it occurs, modulo 2^64: a
// record lost, doubled or moved changes a sum, and two errors cannot cancel out as counts can. docs/two-sum.md has
// the definition for an independent program.
#pragma once

#include <cstdint>

#include "common/base/ids.h"

namespace millrace {

// `position`: the index of the word in its record, from 0.
uint64_t two_sum_hash(LogPartition partition, Offset offset, uint64_t position);

}  // namespace millrace
