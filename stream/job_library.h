// JobLibrary: what a shared library with jobs offers to the programs that load it. Each MILLRACE_JOB in it is one of
// its types.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "millrace/interface.h"
#include "stream/job.h"
#include "stream/job_builder.h"

namespace millrace {

struct JobLibrary {
  // First for all times: what else is here may be used where this is kJobInterface only.
  const char* interface;
  // Names and descriptions, ascending by name; runs no code of the jobs.
  std::vector<JobType> (*types)();
  // The settings that a job reads where it is given these. Errors as a JobFactory's.
  Result<std::vector<JobSetting>> (*settings)(const std::string& type, const JobContext& context);
  // A JobFactory.
  Result<std::shared_ptr<const Job>> (*make)(const std::string& type, const JobContext& context);
};

// The version of the interface between engine and jobs, and the compiler: both must be the same on its two sides.
#define MILLRACE_TEXT_OF(x) #x
#define MILLRACE_TEXT(x) MILLRACE_TEXT_OF(x)
#ifdef _GLIBCXX_DEBUG
#define MILLRACE_DEBUG_TEXT ", debug mode"
#else
#define MILLRACE_DEBUG_TEXT ""
#endif
#ifdef __clang__
inline constexpr char kJobInterface[] = MILLRACE_INTERFACE
    ", clang " MILLRACE_TEXT(__clang_major__) ", libstdc++ " MILLRACE_TEXT(_GLIBCXX_RELEASE) MILLRACE_DEBUG_TEXT;
#else
inline constexpr char kJobInterface[] = MILLRACE_INTERFACE
    ", gcc " MILLRACE_TEXT(__GNUC__) ", libstdc++ " MILLRACE_TEXT(_GLIBCXX_RELEASE) MILLRACE_DEBUG_TEXT;
#endif
#undef MILLRACE_DEBUG_TEXT
#undef MILLRACE_TEXT
#undef MILLRACE_TEXT_OF

// As JobLibrary says, of these.
std::vector<JobType> types_of(std::span<const JobDefinition* const> definitions);
Result<std::vector<JobSetting>> settings_of(std::span<const JobDefinition* const> definitions, const std::string& type,
                                            const JobContext& context);
Result<std::shared_ptr<const Job>> make_job_of(std::span<const JobDefinition* const> definitions,
                                               const std::string& type, const JobContext& context);

namespace internal {

// Makes a definition one of the library's.
class RegisteredJob {
 public:
  explicit RegisteredJob(const JobDefinition& definition);
};

const JobLibrary& this_job_library();

}  // namespace internal
}  // namespace millrace
