#include "tests/sim/upgraded_job.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "millrace/job.h"

namespace millrace {
namespace {

// Other values, so that they cannot be taken for counts.
void count_double(JobBuilder& job, const std::string& name) {
  job.lines()
      .flat_map(split_words)
      .map([](std::string_view word) { return std::pair<std::string_view, int64_t>(word, 2); })
      .reduce_by_key([](int64_t& into, const int64_t& from) { into += from; }, name);
}

void define_upgraded(JobBuilder& job) {
  const int64_t version = job.number("version", 1, 1, 1'000'000, "of the job");
  const std::string beside = "beside " + std::to_string(version);
  if (version % 2 == 0) count_double(job, beside);
  job.lines().flat_map(split_words).count_by_value("words").publish("counts").rank("top", 1000);
  if (version % 2 != 0) count_double(job, beside);
}

constexpr JobDefinition kUpgraded{kUpgradedJob, "words beside what comes and goes", &define_upgraded};

}  // namespace

Result<std::shared_ptr<const Job>> make_upgraded_job(const JobContext& context) {
  return make_job(kUpgraded, context);
}

}  // namespace millrace
