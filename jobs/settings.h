// Settings of a job (--set KEY=VALUE) as its factory reads them.
#pragma once

#include <string>
#include <vector>

#include "stream/job.h"

namespace millrace {

// The value given, else the default. The name must be among `settings`.
std::string setting(const JobContext& context, const std::vector<JobSetting>& settings, const std::string& name);

// "field (...), rank (...)", for messages; "none" if there are none.
std::string describe_settings(const std::vector<JobSetting>& settings);

// kInvalid, naming the setting and listing the valid ones.
std::unexpected<Error> unknown_setting(const std::string& type, const std::vector<JobSetting>& settings,
                                       const std::string& name);
std::unexpected<Error> malformed_setting(const std::string& type, const std::vector<JobSetting>& settings,
                                         const std::string& name, const std::string& value,
                                         const std::string& expected);

}  // namespace millrace
