// KeyedJob: a Job made of a KeyedDefinition (stream/keyed_definition.h). The template is all that the built-in jobs
// share with the engine; a job is its definition and a line in the registry.
//
// A section of a shuffle block (numbers are unsigned varints; the block's checksum covers it):
//
//   number of pairs, then for each pair:
//     size of the key, the key's bytes, the value as the definition encodes it
//
// Each key occurs once in a section. Pairs stand in the order in which the map saw their keys first, so that the
// bytes depend on the records alone: not on chunk borders, nor on how large the map's table had grown before.
#pragma once

#include <memory>
#include <utility>

#include "stream/job.h"
#include "stream/keyed_definition.h"
#include "stream/keyed_map.h"
#include "stream/keyed_state.h"

namespace millrace {

template <KeyedDefinition D>
class KeyedJob final : public Job {
 public:
  // `rank_size` 0: no rank.
  KeyedJob(D definition, SinkLayout layout, size_t rank_size, const JobContext& context)
      : definition_(std::move(definition)),
        layout_(std::move(layout)),
        rank_size_(rank_size),
        limits_{context.state_partitions, context.max_record_bytes} {}

  [[nodiscard]] SinkLayout layout() const override { return layout_; }
  [[nodiscard]] size_t rank_size() const override { return rank_size_; }
  [[nodiscard]] std::unique_ptr<MapTask> make_map_task() const override {
    return std::make_unique<KeyedMapTask<D>>(definition_, limits_);
  }
  [[nodiscard]] std::unique_ptr<StateTable> make_state_table() const override {
    return std::make_unique<KeyedStateTable<D>>(rank_size_);
  }

 private:
  const D definition_;
  const SinkLayout layout_;
  const size_t rank_size_;
  const KeyedMapLimits limits_;
};

}  // namespace millrace
