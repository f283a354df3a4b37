// Settings of a daemon: gflags filled from, in this order, the command line, the environment (MILLRACE_<FLAG> in
// upper case), and the flag file (--flagfile=FILE or MILLRACE_FLAGFILE; lines of --name=value, # comments). What is
// unknown or malformed ends the program with one line and exit code 2; gflags itself would end it with 1.
//
// Called at the start of a main, before any thread. The only users of gflags' registry are here and in *_main.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace millrace {

struct SettingsProgram {
  std::string name;         // millrace-master
  std::string source_file;  // __FILE__ of the main: only the flags defined there (and glog's common ones) are settings
  std::string description;  // for --help: a line or two, then examples
};

// Fills the flags. A value is the exit code to leave main() with at once: 0 after --version or --help, 2 after an
// error, which was printed.
[[nodiscard]] std::optional<int> parse_settings(const SettingsProgram& program, int argc, char** argv);

// The same without printing or leaving: kInvalid with the message. `environment` gives the value of a variable.
// --help and --version are recognised by the caller.
using EnvironmentLookup = std::optional<std::string> (*)(const std::string& variable);
Status apply_settings(const SettingsProgram& program, int argc, const char* const* argv, EnvironmentLookup environment);

// Raises the soft limit of open files to the hard one. kUnavailable: even that is below `least`.
Status raise_descriptor_limit(uint64_t least = 1024);

}  // namespace millrace
