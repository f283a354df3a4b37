// ShuffleBlock: what the map of one range of one log partition says to the state partitions. The unit that
// reduce holds until its blocks tile the plan of a batch.
//
// Encoded form (little-endian), the bulk frame of a wire::Shuffle:
//
//   0  u32 magic "MRSB"      4  u16 version = 2     6  u16 stage
//   8  i64 batch            16  i32 log partition  20  u32 number of sections n
//  24  i64 from offset      32  i64 to offset
//  40  i64 batch time       48  i64 watermark       0 where the map does not depend on them
//  56  n x { i32 state partition, u32 size }        ascending by partition
//      sections, one after the other, in that order
//      u64 XXH3-64 of all before
//
// What a section holds is between a job's MapTask and its StateTable (stream/job.h).
//
// A LevelBlock is written in the same form: stage is the level that emitted it, from 1; its source stands in place of
// the log partition, its generation in place of both offsets.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace {

// What the map of a job by event time depends on besides the records, in Unix milliseconds; for other jobs 0. A plan
// that never became durable may have had the same range with others.
struct MapTimes {
  int64_t batch_ms = 0;
  int64_t watermark_ms = 0;
  auto operator<=>(const MapTimes&) const = default;
};

struct ShuffleBlock {
  struct Section {
    StatePartition partition;
    SharedBuffer bytes;
  };

  StageId stage;
  BatchId batch;
  LogPartition source;
  OffsetRange range;
  MapTimes times;
  // Ascending by partition. A section of no bytes says that the range has no pair for that partition; a partition that
  // is not listed is not addressed by this block, and must wait for another one.
  std::vector<Section> sections;

  // XXH3-64 over (partition, bytes) of the sections that have bytes: equal for every map of the same range and times.
  [[nodiscard]] uint64_t fingerprint() const;
  [[nodiscard]] size_t bytes() const;
};

// What one state partition has emitted at one level of a batch, for all state partitions: one that is not listed gets
// nothing.
struct LevelBlock {
  int32_t level = 1;  // that emitted it; its sections are applied at the next one
  BatchId batch;
  StatePartition source;
  Generation generation;                        // of the source, and so of all state partitions whose levels these are
  std::vector<ShuffleBlock::Section> sections;  // ascending by partition, each with bytes

  [[nodiscard]] size_t bytes() const;
};

// The block addressed to exactly `partitions` (ascending), with an empty section where the whole block has none; for
// the whole block of a map only. Sections share their bytes.
ShuffleBlock select_sections(const ShuffleBlock& block, std::span<const StatePartition> partitions);

SharedBuffer encode_shuffle_block(const ShuffleBlock& block);
// Sections share the bytes of `encoded`. kCorrupt with the place.
Result<ShuffleBlock> decode_shuffle_block(const SharedBuffer& encoded);

// To be encoded, with the sections for `partitions` (ascending) alone; and what was decoded.
ShuffleBlock shuffle_block_of(const LevelBlock& block, std::span<const StatePartition> partitions);
LevelBlock level_block_of(ShuffleBlock decoded);

}  // namespace millrace
