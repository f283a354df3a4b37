#include "stream/job_library.h"

#include <algorithm>

namespace millrace {
namespace {

std::vector<const JobDefinition*>& registered() {
  static std::vector<const JobDefinition*> definitions;  // there before the first RegisteredJob of any file
  return definitions;
}

Result<const JobDefinition*> find(std::span<const JobDefinition* const> definitions, const std::string& type) {
  std::string known;
  for (const JobDefinition* each : definitions) {
    if (each->name == type) return each;
    known += (known.empty() ? "" : ", ") + std::string(each->name);
  }
  return fail(ErrorCode::kNotFound, "there is no job type '" + type + "'; there are: " + known);
}

}  // namespace

std::vector<JobType> types_of(std::span<const JobDefinition* const> definitions) {
  std::vector<JobType> types;
  for (const JobDefinition* each : definitions) types.push_back({each->name, each->description, {}});
  std::ranges::sort(types, {}, &JobType::name);
  return types;
}

Result<std::vector<JobSetting>> settings_of(std::span<const JobDefinition* const> definitions, const std::string& type,
                                            const JobContext& context) {
  const auto definition = find(definitions, type);
  if (!definition) return std::unexpected(definition.error());
  return settings_of(**definition, context);
}

Result<std::shared_ptr<const Job>> make_job_of(std::span<const JobDefinition* const> definitions,
                                               const std::string& type, const JobContext& context) {
  const auto definition = find(definitions, type);
  if (!definition) return std::unexpected(definition.error());
  return make_job(**definition, context);
}

namespace internal {

RegisteredJob::RegisteredJob(const JobDefinition& definition) {
  registered().push_back(&definition);
}

const JobLibrary& this_job_library() {
  static constexpr JobLibrary kLibrary{
      kJobInterface, [] { return types_of(registered()); },
      [](const std::string& type, const JobContext& context) { return settings_of(registered(), type, context); },
      [](const std::string& type, const JobContext& context) { return make_job_of(registered(), type, context); }};
  return kLibrary;
}

}  // namespace internal
}  // namespace millrace
