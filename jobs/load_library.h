// Loads shared libraries of jobs.
#pragma once

#include <string>

#include "stream/job_library.h"

namespace millrace {

// Runs the library's initialisers: what they do to the process (crash, hang) they do to this one. Loaded once, it
// stays. kInvalid: no library, one of another version or compiler, or none of jobs.
Result<const JobLibrary*> load_job_library(const std::string& path);

// The same of a library's bytes, from memory, so that nothing is left behind.
Result<JobFactory> load_job_library_of(const std::string& bytes);

}  // namespace millrace
