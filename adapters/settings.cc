#include "adapters/settings.h"

#include <gflags/gflags.h>
#include <glog/logging.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <vector>

namespace millrace {
namespace {

constexpr std::array<std::string_view, 4> kLogFlags = {"v", "vmodule", "minloglevel", "log_backtrace_at"};
constexpr std::string_view kFlagFile = "flagfile";

using Flags = std::map<std::string, google::CommandLineFlagInfo>;

// A value and where it was given, for errors.
struct Setting {
  std::string name;
  std::string value;
  std::string place;
};

Flags known_flags(const SettingsProgram& program) {
  std::vector<google::CommandLineFlagInfo> all;
  google::GetAllFlags(&all);
  Flags known;
  for (auto& flag : all) {
    const bool common = std::find(kLogFlags.begin(), kLogFlags.end(), flag.name) != kLogFlags.end();
    if (flag.filename == program.source_file || common) known[flag.name] = std::move(flag);
  }
  return known;
}

std::string variable_of(const std::string& flag) {
  std::string variable = "MILLRACE_";
  for (const char c : flag) variable += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return variable;
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::unexpected<Error> unknown_flag(const SettingsProgram& program, const std::string& place, const std::string& flag) {
  return fail(ErrorCode::kInvalid,
              place + ": unknown flag '" + flag.substr(0, 80) + "'; `" + program.name + " --help` lists the flags");
}

// Splits "--name=value" and "--[no]name"; `next` is the argument after it, or null; `used_next` tells if it was it.
Result<Setting> parse_flag(const SettingsProgram& program, const Flags& known, const std::string& text,
                           const std::string& place, const char* next, bool& used_next) {
  used_next = false;
  if (text.size() < 2 || text[0] != '-') {
    return fail(ErrorCode::kInvalid,
                place + ": '" + text.substr(0, 80) + "' is no flag; flags are written --name=value");
  }
  const std::string body = text.substr(text[1] == '-' ? 2 : 1);
  const size_t equals = body.find('=');
  Setting setting{.name = body.substr(0, equals), .value = "", .place = place};
  std::replace(setting.name.begin(), setting.name.end(), '-', '_');
  if (equals != std::string::npos) setting.value = body.substr(equals + 1);
  if (setting.name == kFlagFile) {
    if (equals != std::string::npos) return setting;
  } else if (const auto flag = known.find(setting.name); flag != known.end()) {
    if (equals != std::string::npos) return setting;
    if (flag->second.type == "bool") {
      setting.value = "true";
      return setting;
    }
  } else {
    const auto negated = setting.name.starts_with("no") ? known.find(setting.name.substr(2)) : known.end();
    const bool is_negation = negated != known.end() && negated->second.type == "bool" && equals == std::string::npos;
    if (!is_negation) return unknown_flag(program, place, text.substr(0, text.find('=')));
    setting.name = negated->first;
    setting.value = "false";
    return setting;
  }
  if (next == nullptr) {
    return fail(ErrorCode::kInvalid, place + ": --" + setting.name + " needs a value: --" + setting.name + "=VALUE");
  }
  used_next = true;
  setting.value = next;
  return setting;
}

Status apply(const Flags& known, const Setting& setting) {
  // Bounds by a validator of the flag make this fail, too.
  if (!google::SetCommandLineOption(setting.name.c_str(), setting.value.c_str()).empty()) return {};
  return fail(ErrorCode::kInvalid, setting.place + ": '" + setting.value.substr(0, 80) + "' is no value of --" +
                                       setting.name + " (" + known.at(setting.name).type + ": " +
                                       known.at(setting.name).description + ")");
}

Status apply_file(const SettingsProgram& program, const Flags& known, const std::string& path) {
  std::ifstream file(path);
  if (!file || file.peek() == std::ifstream::traits_type::eof()) {
    if (file.is_open() && file.eof()) return {};  // empty
    return fail(ErrorCode::kInvalid,
                "the flag file '" + path + "' cannot be read (" + std::strerror(errno) + "); correct --flagfile");
  }
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    line = trimmed(line);
    if (line.empty() || line[0] == '#') continue;
    const std::string place = path + ":" + std::to_string(number);
    bool used_next = false;
    const auto setting = parse_flag(program, known, line, place, nullptr, used_next);
    if (!setting) return std::unexpected(setting.error());
    if (setting->name == kFlagFile) return fail(ErrorCode::kInvalid, place + ": a flag file cannot name another one");
    if (const Status applied = apply(known, *setting); !applied) return applied;
  }
  return {};
}

void print_help(const SettingsProgram& program) {
  std::cout << program.name << ": " << program.description << "\n\nFlags:\n";
  for (const auto& [name, flag] : known_flags(program)) {
    if (flag.filename != program.source_file) continue;
    std::cout << "  --" << name << "="
              << (flag.type == "string" ? "TEXT"
                  : flag.type == "bool" ? "true|false"
                                        : "N")
              << "\n      " << flag.description;
    if (!flag.default_value.empty()) std::cout << " (default: " << flag.default_value << ")";
    std::cout << "\n";
  }
  std::cout << "  --flagfile=FILE\n      more flags, one --name=value a line, # begins a comment\n"
            << "  --v=N, --minloglevel=N\n      more, or less, in the log\n"
            << "  --help, --version\n\n"
            << "A flag on the command line goes before the variable MILLRACE_<FLAG> of the environment, and that\n"
            << "before the flag file.\n";
}

std::optional<std::string> process_environment(const std::string& variable) {
  const char* value = std::getenv(variable.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

}  // namespace

Status apply_settings(const SettingsProgram& program, int argc, const char* const* argv,
                      EnvironmentLookup environment) {
  const Flags known = known_flags(program);
  std::string file = environment("MILLRACE_FLAGFILE").value_or("");
  std::vector<Setting> arguments;
  for (int i = 1; i < argc; ++i) {
    bool used_next = false;
    auto setting = parse_flag(program, known, argv[i], "command line", i + 1 < argc ? argv[i + 1] : nullptr, used_next);
    if (!setting) return std::unexpected(setting.error());
    if (used_next) ++i;
    if (setting->name == kFlagFile) {
      file = setting->value;
    } else {
      arguments.push_back(std::move(*setting));
    }
  }
  if (!file.empty()) {
    if (const Status applied = apply_file(program, known, file); !applied) return applied;
  }
  for (const auto& [name, flag] : known) {
    const auto value = environment(variable_of(name));
    if (!value) continue;
    if (const Status applied = apply(known, {name, *value, variable_of(name)}); !applied) return applied;
  }
  for (const Setting& argument : arguments) {
    if (const Status applied = apply(known, argument); !applied) return applied;
  }
  return {};
}

std::optional<int> parse_settings(const SettingsProgram& program, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--version" || argument == "-version") {
      std::cout << program.name << " " << MILLRACE_VERSION << "\n";
      return 0;
    }
    if (argument == "--help" || argument == "-help" || argument == "-h") {
      print_help(program);
      return 0;
    }
  }
  const Status applied = apply_settings(program, argc, argv, process_environment);
  if (applied) return std::nullopt;
  std::cerr << program.name << ": " << applied.error().message << "\n";
  return 2;
}

Status raise_descriptor_limit(uint64_t least) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return fail(ErrorCode::kInternal, std::string("the limit of open files cannot be read: ") + std::strerror(errno));
  }
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  if (limit.rlim_cur >= least) return {};
  return fail(ErrorCode::kUnavailable, "only " + std::to_string(limit.rlim_cur) + " open files are allowed, " +
                                           std::to_string(least) +
                                           " are needed; raise the hard limit, e.g. `ulimit -Hn " +
                                           std::to_string(std::max<uint64_t>(least, 65536)) + "` as root");
}

}  // namespace millrace
