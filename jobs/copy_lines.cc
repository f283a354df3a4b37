// Appends the lines of a log somewhere else: from Kafka into files, for one.
#include "millrace/job.h"

MILLRACE_JOB(copy_lines, "appends each text of a log to its output `lines`, as it is") {
  const std::string part = job.setting("contains", "", "only texts that hold this; empty: all");
  job.lines()
      .filter([part](std::string_view line) noexcept { return line.find(part) != std::string_view::npos; })
      .write("lines");
}
