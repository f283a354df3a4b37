// Logs of glog to standard error, as text ("I20240131 12:00:00.000000 thread file.cc:1] text") or as lines of JSON, an
// object each; --minloglevel and --v as ever. Called at the start of a main, before any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace millrace {

struct LogOptions {
  std::string format = "text";  // or json
  // What all lines of JSON say, where it is not empty.
  std::string program;
  std::string worker;  // host:pid
  std::string job;     // of an executor
};

// kInvalid: there is no such format. `program_name` lives as long as the process.
Status start_logging(const char* program_name, LogOptions options);

struct LogLine {
  std::string_view level;  // INFO, WARNING, ERROR, FATAL
  std::string_view file;
  int line = 0;
  int64_t unix_us = 0;
  std::string_view message;
  std::string_view job;  // empty: that of the options
  int64_t batch = 0;     // 0: none
};
// With its line break, in valid UTF-8 whatever the message is.
std::string json_log_line(const LogOptions& options, const LogLine& line);

}  // namespace millrace
