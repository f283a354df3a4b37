// The built-in jobs by type name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "stream/job.h"

namespace millrace {

// Ascending by name.
std::vector<JobType> builtin_job_types();

// The settings that a job reads where it is given these.
Result<std::vector<JobSetting>> builtin_job_settings(const std::string& type, const JobContext& context);

// A JobFactory: checks the settings' names, then lets the type make the job. Any thread.
Result<std::shared_ptr<const Job>> make_builtin_job(const std::string& type, const JobContext& context);

}  // namespace millrace
