// Assignment: who owns which log and state partitions of a job, as of one assignment number. Spreading is a pure
// function: it moves as little as it can.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "common/base/ids.h"

namespace millrace {

constexpr ProcessId kNoProcess{0};

struct StateOwnership {
  ProcessId process;      // kNoProcess: nobody
  Generation generation;  // the assignment number at which `process` got it
  bool operator==(const StateOwnership&) const = default;
};

struct Assignment {
  Generation number;
  std::map<LogPartition, ProcessId> logs;
  std::vector<StateOwnership> states;  // by state partition
  ProcessId rank_owner;
};

// One executor that may own partitions.
struct Candidate {
  ProcessId process;
  int32_t lanes = 1;  // its weight
};

// The next assignment, numbered one higher. Partitions stay with an owner that is among the candidates unless it has
// more than its share (by lanes, rounded up); the others go to whoever is furthest below its share, ties by process
// id. A partition listed in `reload` gets a new generation even if its owner stays. Without candidates everything
// belongs to nobody.
Assignment spread(const Assignment& current, const std::vector<Candidate>& candidates, bool balance,
                  const std::vector<StatePartition>& reload);

// Gives every state partition the generation of this assignment: all are loaded again.
void renew_states(Assignment& assignment);

// True if some candidate owns less than its rounded-down share of state or log partitions.
bool is_unbalanced(const Assignment& current, const std::vector<Candidate>& candidates);

}  // namespace millrace
