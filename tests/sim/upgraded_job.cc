#include "tests/sim/upgraded_job.h"

#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "millrace/job.h"

namespace millrace {
namespace {

// Other values, so that they cannot be taken for counts.
void count_double(JobBuilder& job, int64_t version) {
  const auto twos = job.lines().flat_map(split_words).map([](std::string_view word) {
    return std::pair<std::string_view, int64_t>(word, 2);
  });
  const std::string name = "beside " + std::to_string(version);
  if (version == kWrongVersion) {
    twos.update_state_by_key<int64_t>(
        [](std::span<const int64_t>, std::optional<int64_t>) -> std::optional<int64_t> {
          throw std::runtime_error("this version is wrong");
        },
        {.name = name, .only_changed = true});
  } else {
    twos.reduce_by_key([](int64_t& into, const int64_t& from) { into += from; }, name);
  }
}

// In other bits than the versions before and after.
template <typename Count, typename Former>
void count_words(JobBuilder& job) {
  job.lines()
      .flat_map(split_words)
      .map([](std::string_view word) noexcept { return std::pair<std::string_view, Count>(word, 1); })
      .reduce_by_key([](Count& into, const Count& from) { into += from; }, "words")
      .template migrate_from<Former>([](Former count) { return static_cast<Count>(count); })
      .publish("counts")
      .rank("top", 1000);
}

void define_upgraded(JobBuilder& job) {
  const int64_t version = job.number("version", 1, 1, 1'000'000, "of the job");
  if (version % 2 == 0) {
    count_double(job, version);
    count_words<int32_t, int64_t>(job);
  } else {
    count_words<int64_t, int32_t>(job);
    count_double(job, version);
  }
}

constexpr JobDefinition kUpgraded{kUpgradedJob, "words beside what comes and goes", &define_upgraded};

}  // namespace

Result<std::shared_ptr<const Job>> make_upgraded_job(const JobContext& context) {
  return make_job(kUpgraded, context);
}

}  // namespace millrace
