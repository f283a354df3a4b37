#include "jobs/registry.h"

#include <array>

#include "common/base/check.h"
#include "millrace/job.h"

extern const millrace::JobDefinition millrace_job_two_sum;
extern const millrace::JobDefinition millrace_job_word_count;

namespace millrace {
namespace {

constexpr std::array kBuiltins = {&millrace_job_two_sum, &millrace_job_word_count};

}  // namespace

std::vector<JobType> builtin_job_types() {
  auto types = types_of(kBuiltins);
  CHECK(types.has_value()) << types.error().message;
  return *std::move(types);
}

Result<std::shared_ptr<const Job>> make_builtin_job(const std::string& type, const JobContext& context) {
  return make_job_of(kBuiltins, type, context);
}

}  // namespace millrace
