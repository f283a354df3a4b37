// A job for tests whose merge is associative but not commutative, so that the order of merging shows: each word is a
// function x -> factor * x + summand modulo 2^64, composed with one more for each place where it occurs. Its result
// depends on how the batches were cut (the records of one are merged log by log), which real jobs must not. Beside that
// it publishes a second table, with a rank.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "stream/job.h"

namespace millrace {

inline constexpr char kChainJob[] = "chain";
inline constexpr std::string_view kSecondTopic = "more";  // of a source of two
inline constexpr char kChainCounts[] = "words";           // its second table: how often each word came

// One more occurrence, at this place.
inline void chain_step(uint64_t& factor, uint64_t& summand, bool second_topic, int32_t partition, int64_t offset) {
  const uint64_t step_factor = 2 * static_cast<uint64_t>(offset) + 3;
  const uint64_t place = static_cast<uint64_t>(partition) + (second_topic ? 101 : 0);
  const uint64_t step_summand = 7919 * place + static_cast<uint64_t>(offset) + 1;
  factor *= step_factor;
  summand = summand * step_factor + step_summand;
}

Result<std::shared_ptr<const Job>> make_chain_job(const JobContext& context);

}  // namespace millrace
