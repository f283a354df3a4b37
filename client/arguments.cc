#include "client/arguments.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <limits>

namespace millrace::client {
namespace {

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

}  // namespace

Result<int64_t> parse_wait_ms(const std::string& text) {
  if (text == "0" || text == "0s" || text == "0ms") return 0;
  return parse_duration_ms(text);
}

Result<std::map<std::string, std::string>> parse_settings(const std::string& what,
                                                          const std::vector<std::string>& texts) {
  std::map<std::string, std::string> settings;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(ErrorCode::kInvalid, what + " '" + text + "' is not KEY=VALUE");
    }
    if (!settings.emplace(text.substr(0, equals), text.substr(equals + 1)).second) {
      return fail(ErrorCode::kInvalid, what + " gives '" + text.substr(0, equals) + "' twice");
    }
  }
  return settings;
}

Result<std::map<std::string, std::string>> read_config_file(const std::string& option, const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  if (!file || (file.peek() == std::ifstream::traits_type::eof() && !file.eof())) {
    return fail(ErrorCode::kInvalid,
                "the file '" + path + "' cannot be read (" + std::strerror(errno) + "); correct " + option);
  }
  std::map<std::string, std::string> settings;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    line = trimmed(line);
    if (line.empty() || line[0] == '#') continue;
    const std::string place = path + ":" + std::to_string(number) + ": ";
    const size_t equals = line.find('=');
    const std::string key = equals == std::string::npos ? "" : trimmed(line.substr(0, equals));
    if (key.empty()) return fail(ErrorCode::kInvalid, place + "the line is not key=value");
    if (!settings.emplace(key, trimmed(line.substr(equals + 1))).second) {
      return fail(ErrorCode::kInvalid, place + "'" + key + "' is given a second time");
    }
  }
  if (file.bad())
    return fail(ErrorCode::kInvalid,
                "the file '" + path + "' cannot be read (it may be a directory); correct " + option);
  return settings;
}

}  // namespace millrace::client
