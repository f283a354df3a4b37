// A job that is upgraded: words are counted in all its versions, beside a state that is another one in each, so that
// the counts have another number in checkpoints; and as integers of another size, which the next version migrates.
// `--set version=N`, of any N but one that can do nothing.
#pragma once

#include <cstdint>
#include <memory>

#include "stream/job.h"

namespace millrace {

inline constexpr char kUpgradedJob[] = "upgraded";
inline constexpr int64_t kWrongVersion = 666;

Result<std::shared_ptr<const Job>> make_upgraded_job(const JobContext& context);

}  // namespace millrace
