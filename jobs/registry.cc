#include "jobs/registry.h"

#include <array>

#include "common/base/check.h"
#include "millrace/job.h"

extern const millrace::JobDefinition millrace_job_alarm;
extern const millrace::JobDefinition millrace_job_click_through;
extern const millrace::JobDefinition millrace_job_copy_lines;
extern const millrace::JobDefinition millrace_job_inverted_index;
extern const millrace::JobDefinition millrace_job_k_means;
extern const millrace::JobDefinition millrace_job_linear_regression;
extern const millrace::JobDefinition millrace_job_network_word_count;
extern const millrace::JobDefinition millrace_job_recent_words;
extern const millrace::JobDefinition millrace_job_score;
extern const millrace::JobDefinition millrace_job_two_sum;
extern const millrace::JobDefinition millrace_job_user_counts;
extern const millrace::JobDefinition millrace_job_user_sessions;
extern const millrace::JobDefinition millrace_job_word_count;

namespace millrace {
namespace {

constexpr std::array kBuiltins = {&millrace_job_alarm,
                                  &millrace_job_click_through,
                                  &millrace_job_copy_lines,
                                  &millrace_job_inverted_index,
                                  &millrace_job_k_means,
                                  &millrace_job_linear_regression,
                                  &millrace_job_network_word_count,
                                  &millrace_job_recent_words,
                                  &millrace_job_score,
                                  &millrace_job_two_sum,
                                  &millrace_job_user_counts,
                                  &millrace_job_user_sessions,
                                  &millrace_job_word_count};

}  // namespace

std::vector<JobType> builtin_job_types() {
  std::vector<JobType> types = types_of(kBuiltins);
  for (JobType& type : types) {
    auto settings = builtin_job_settings(type.name, {});
    CHECK(settings.has_value()) << settings.error().message;
    type.settings = std::move(*settings);
  }
  return types;
}

Result<std::vector<JobSetting>> builtin_job_settings(const std::string& type, const JobContext& context) {
  return settings_of(kBuiltins, type, context);
}

Result<std::shared_ptr<const Job>> make_builtin_job(const std::string& type, const JobContext& context) {
  return make_job_of(kBuiltins, type, context);
}

}  // namespace millrace
