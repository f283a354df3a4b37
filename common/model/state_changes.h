// What becomes of a job's states where other code goes on from a checkpoint: by name, and by what their entries are.
// The plan of an upgrade shows it, the master asks it before it stops anything, and whoever restores goes by it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/model/job_plan.h"

namespace millrace {

enum class StateFate {
  kKept,
  kMigrated,  // the new code makes its values of the former ones
  kNew,       // it begins empty
  kDropped,   // what the checkpoint has of it is left out
  kRefused,   // nothing right could come of it
};

std::string to_string(StateFate fate);

struct StateChange {
  StateFate fate;
  std::string name;
  std::optional<size_t> was;  // its number in the checkpoint's keys
  std::optional<size_t> is;   // its number in the code's
  std::string layout_was;
  std::string layout_is;
  std::string problem;  // why it is refused
};

// Those of the code first, in its order, then those that it has no more. What is made of the changes of another state
// is as old as that: it has taken up what the other one holds, change by change, so both go on or both begin empty; and
// the other one is not migrated, since nobody would tell it what that changes. What holds the newest batch alone may
// come and go anywhere.
std::vector<StateChange> changes_of_states(const std::vector<StatePlan>& stored, const std::vector<StatePlan>& now);

// kInvalid: the problems.
Status check_states(const std::vector<StateChange>& changes);

// What people may not expect of a change that is not refused, in words; of the others "". `now` are the code's states.
std::string note_of(const StateChange& change, const std::vector<StatePlan>& now);

// Nothing is lost that nobody has agreed to lose: `agreed` are the names of the states that may be dropped. kInvalid:
// one that is dropped, and holds more than the newest batch, is none of them, or one of them is not dropped.
Status check_drops(const std::vector<StateChange>& changes, const std::vector<StatePlan>& now,
                   const std::vector<std::string>& agreed);

}  // namespace millrace
