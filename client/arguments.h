// What people type: durations, settings, names, and files of settings. Pure functions but for reading the
// file; kInvalid with what was typed and the form that was expected.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/model/duration.h"

namespace millrace::client {

// The same, or 0s: not at all.
Result<int64_t> parse_wait_ms(const std::string& text);

// KEY=VALUE each; a key twice is an error. `what` names the option in errors.
Result<std::map<std::string, std::string>> parse_settings(const std::string& what,
                                                          const std::vector<std::string>& texts);

// Settings in the file that `option` names, one key=value a line; blank lines and lines that begin with # are left out.
// Errors name file and line, and never repeat a value, which may be a secret.
Result<std::map<std::string, std::string>> read_config_file(const std::string& option, const std::string& path);

}  // namespace millrace::client
