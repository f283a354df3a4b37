#include "jobs/registry.h"

#include <algorithm>
#include <array>

#include "millrace/job.h"

extern const millrace::JobDefinition millrace_job_two_sum;
extern const millrace::JobDefinition millrace_job_word_count;

namespace millrace {
namespace {

constexpr std::array kBuiltins = {&millrace_job_two_sum, &millrace_job_word_count};

}  // namespace

std::vector<JobType> builtin_job_types() {
  std::vector<JobType> types;
  for (const JobDefinition* each : kBuiltins) types.push_back({each->name, each->description, settings_of(*each)});
  return types;
}

Result<std::shared_ptr<const Job>> make_builtin_job(const std::string& type, const JobContext& context) {
  std::string known;
  for (const JobDefinition* each : kBuiltins) {
    if (each->name == type) return make_job(*each, context);
    known += (known.empty() ? "" : ", ") + std::string(each->name);
  }
  return fail(ErrorCode::kNotFound, "there is no job type '" + type + "'; there are: " + known);
}

}  // namespace millrace
