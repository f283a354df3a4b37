// Jobs for tests that append: each word of the log, and what changes in the counts of words, behind a shuffle.
#pragma once

#include <memory>
#include <string>

#include "stream/job.h"

namespace millrace {

// Counts words, and appends each as a line to its output `words`.
inline constexpr char kAppendJob[] = "appending";
// Counts words, and appends what changes, in three parts: "WORD<TAB>BEFORE AFTER".
inline constexpr char kAppendChangesJob[] = "appending_changes";

bool is_append_job(const std::string& type);
Result<std::shared_ptr<const Job>> make_append_job(const std::string& type, const JobContext& context);

}  // namespace millrace
