// What the kernel knows of a process, from /proc: of this one as the metrics that all Prometheus clients name alike,
// and of others of the same user.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace millrace {

struct ProcessFigures {
  double cpu_seconds = 0;  // user and system
  int64_t threads = 0;
  int64_t resident_bytes = 0;
  int64_t virtual_bytes = 0;
  int64_t open_files = 0;
  int64_t most_open_files = 0;
  double start_s = 0;  // since 1970 UTC
};

// None: there is no such process any more.
std::optional<ProcessFigures> figures_of_process(pid_t pid);

// Of this process: process_* and millrace_build_info, in Prometheus' text format. Thread-safe.
std::string process_metrics_text(const std::string& program);

}  // namespace millrace
