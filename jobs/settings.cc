#include "jobs/settings.h"

#include <algorithm>

#include "common/base/check.h"

namespace millrace {

std::string setting(const JobContext& context, const std::vector<JobSetting>& settings, const std::string& name) {
  if (const auto given = context.settings.find(name); given != context.settings.end()) return given->second;
  const auto known =
      std::find_if(settings.begin(), settings.end(), [&](const JobSetting& each) { return each.name == name; });
  CHECK(known != settings.end()) << "setting '" << name << "' is read but not declared";
  return known->default_value;
}

std::string describe_settings(const std::vector<JobSetting>& settings) {
  if (settings.empty()) return "none";
  std::string text;
  for (const JobSetting& each : settings) {
    if (!text.empty()) text += ", ";
    text += each.name + "=" + each.default_value + " (" + each.description + ")";
  }
  return text;
}

std::unexpected<Error> unknown_setting(const std::string& type, const std::vector<JobSetting>& settings,
                                       const std::string& name) {
  return fail(ErrorCode::kInvalid,
              "job type '" + type + "' has no setting '" + name + "'; its settings: " + describe_settings(settings));
}

std::unexpected<Error> malformed_setting(const std::string& type, const std::vector<JobSetting>& settings,
                                         const std::string& name, const std::string& value,
                                         const std::string& expected) {
  return fail(ErrorCode::kInvalid, "setting '" + name + "' of job type '" + type + "' must be " + expected + ", not '" +
                                       value + "'; its settings: " + describe_settings(settings));
}

}  // namespace millrace
