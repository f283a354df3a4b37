// Loads shared libraries of jobs.
#pragma once

#include <string>

#include "stream/job_library.h"

namespace millrace {

// Of the bytes of a library, from memory, so that nothing is left behind. Runs its initialisers: what they do to the
// process (crash, hang) they do to this one. It stays loaded. kInvalid: no library, one of another version or compiler,
// or none of jobs; `name` stands for it in what is said.
Result<const JobLibrary*> load_job_library(const std::string& bytes, const std::string& name);
Result<JobFactory> load_job_factory(const std::string& bytes, const std::string& name);

}  // namespace millrace
