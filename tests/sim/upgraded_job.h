// A job that is upgraded: words are counted in all its versions, beside a state that is another one in each, so that
// the counts have another number in checkpoints. `--set version=N`, of any N.
#pragma once

#include <memory>

#include "stream/job.h"

namespace millrace {

inline constexpr char kUpgradedJob[] = "upgraded";

Result<std::shared_ptr<const Job>> make_upgraded_job(const JobContext& context);

}  // namespace millrace
