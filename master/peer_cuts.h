// Peer cuts: executors of one job that the master reaches and that cannot reach each other. A job cannot go on like
// that, because each hands blocks to all: some have to be given up. A pure function says which.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "common/seams/clock.h"

namespace millrace {

using PeerCut = std::pair<ProcessId, ProcessId>;  // who says so, and whom it cannot reach

// Whom to give up so that no cut is left between those that stay: again and again the one with the most cuts; among
// equals the youngest by `since`, because a newcomer holds the least and takes turns with nobody; then the highest
// process id. Each of a cut is in `since`.
std::vector<ProcessId> choose_whom_to_give_up(std::vector<PeerCut> cuts,
                                              const std::map<ProcessId, MonotonicTime>& since);

}  // namespace millrace
