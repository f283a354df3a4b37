// A whole cluster in one process, for one job: Master, Agent and Executor on one loop, a loop per lane, and everything
// that they write down in memory. See "One process" in ARCHITECTURE.md.
#pragma once

#include <memory>

#include "client/local_run.h"

namespace millrace {

// Starts the job; returns once it is accepted.
Result<std::unique_ptr<client::LocalRun>> start_local_run(const client::LocalRunSpec& spec);

}  // namespace millrace
