#include "master/recovery.h"

#include <algorithm>

#include "common/base/check.h"

namespace millrace {

std::vector<RecoveryTask> plan_recovery(const RecoveryFacts& facts) {
  CHECK(facts.assignment != nullptr);
  std::vector<RecoveryTask> tasks;
  for (const BatchFacts& batch : facts.batches) {
    for (const RangeFacts& range : batch.ranges) {
      const bool mapper_lives = std::find(facts.alive.begin(), facts.alive.end(), range.mapper) != facts.alive.end();
      std::vector<StatePartition> partitions;
      for (const StateFacts& state : facts.states) {
        const bool lacks_batch = state.applied < batch.batch;
        if (lacks_batch && (state.restoring || !mapper_lives)) partitions.push_back(state.partition);
      }
      // A living mapper's result is on its way.
      const bool wants_result = !range.result_known && !mapper_lives;
      if (partitions.empty() && !wants_result) continue;
      const ProcessId mapper = mapper_lives ? range.mapper : facts.assignment->logs.at(range.partition);
      if (mapper == kNoProcess) continue;  // nobody to do it: planned again when somebody comes
      tasks.push_back({batch.batch, range, mapper, std::move(partitions)});
    }
  }
  return tasks;
}

}  // namespace millrace
