// two_sum: the oracle's job. Per word the count and the sum of a hash of each place where it occurs, modulo 2^64: a
// record lost, doubled or moved changes a sum, and two errors cannot cancel out as counts can. docs/two-sum.md has
// the definition for an independent program.
#pragma once

#include <cstdint>
#include <memory>

#include "stream/job.h"

namespace millrace {

// `position`: the index of the word in its record, from 0.
uint64_t two_sum_hash(LogPartition partition, Offset offset, uint64_t position);

std::vector<JobSetting> two_sum_settings();
Result<std::shared_ptr<const Job>> make_two_sum(const JobContext& context);

}  // namespace millrace
