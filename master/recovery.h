// Recovery: which ranges have to be mapped or sent again after owners changed. A pure function of what the master
// knows: facts in, tasks out. Doing too much is harmless (a block that is there already is dropped), doing too
// little would wait for ever.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "master/assignment.h"

namespace millrace {

struct RangeFacts {
  LogPartition partition;
  OffsetRange range;
  int64_t records = 0;
  ProcessId mapper;           // who was told to map it; kNoProcess: unknown (another master told it)
  bool result_known = false;  // its MapResult is here
};

struct BatchFacts {
  BatchId batch;
  std::vector<RangeFacts> ranges;
};

struct StateFacts {
  StatePartition partition;
  BatchId applied;         // as its owner last said; for a moved one the checkpoint's batch
  bool restoring = false;  // it moved, and has not been sent the batches after `applied` by anybody
};

struct RecoveryFacts {
  std::vector<BatchFacts> batches;  // all that may be replayed, ascending
  std::vector<StateFacts> states;
  std::vector<ProcessId> alive;  // executors that take part
  const Assignment* assignment = nullptr;
};

struct RecoveryTask {
  BatchId batch;
  RangeFacts range;
  ProcessId mapper;                        // who does it
  std::vector<StatePartition> partitions;  // whose sections to send, ascending; empty: only the result is wanted
};

// Ascending by batch, then by log partition.
std::vector<RecoveryTask> plan_recovery(const RecoveryFacts& facts);

}  // namespace millrace
