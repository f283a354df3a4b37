// How offsets by log partition stand in records: a list of them, and a list of whose they are where that is not
// 0, 1, 2... (a source of several topics, see common/model/source_topics.h).
#pragma once

#include <cstdint>
#include <vector>

#include "common/seams/log.h"
#include "wire_types.h"

namespace millrace {

[[nodiscard]] inline LogOffsets log_offsets(const std::vector<int64_t>& offsets,
                                            const std::vector<int32_t>& partitions) {
  LogOffsets found;
  for (size_t i = 0; i < offsets.size(); ++i) {
    const int32_t partition = i < partitions.size() ? partitions[i] : static_cast<int32_t>(i);
    found[LogPartition(partition)] = Offset(offsets[i]);
  }
  return found;
}
[[nodiscard]] inline LogOffsets start_of(const wire::JobSpec& spec) {
  return log_offsets(spec.start_offsets, spec.start_partitions);
}
[[nodiscard]] inline LogOffsets offsets_of(const wire::Manifest& manifest) {
  return log_offsets(manifest.offsets, manifest.partitions);
}

inline void set_log_offsets(const LogOffsets& from, std::vector<int64_t>& offsets, std::vector<int32_t>& partitions) {
  offsets.clear();
  partitions.clear();
  for (const auto& [partition, offset] : from) {
    offsets.push_back(offset.value());
    partitions.push_back(partition.value());
  }
  if (from.empty() || partitions.back() == static_cast<int32_t>(partitions.size()) - 1) partitions.clear();
}
inline void set_start(wire::JobSpec& spec, const LogOffsets& offsets) {
  set_log_offsets(offsets, spec.start_offsets, spec.start_partitions);
}
inline void set_offsets(wire::Manifest& manifest, const LogOffsets& offsets) {
  set_log_offsets(offsets, manifest.offsets, manifest.partitions);
}

}  // namespace millrace
