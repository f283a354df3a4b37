#include "adapters/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
#include <vector>

#include "common/metrics/metric_families.h"

namespace millrace {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

double boot_time_s() {
  std::istringstream lines(read_text("/proc/stat"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  }
  return 0;
}

int64_t count_entries(const std::string& directory) {
  std::error_code error;
  int64_t count = 0;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    ++count;
  }
  return count;
}

}  // namespace

std::optional<ProcessFigures> figures_of_process(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  const std::string stat = read_text(folder + "/stat");
  // proc(5): pid, the name in parentheses, which may hold anything, then fields from the third one on.
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream rest(stat.substr(name_end + 1));
  std::string state;
  rest >> state;
  const std::vector<double> fields{std::istream_iterator<double>(rest), {}};  // fields[0] is the fourth one
  if (fields.size() < 21) return std::nullopt;
  const auto field = [&fields](size_t number) { return fields[number - 4]; };
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));

  ProcessFigures figures;
  figures.cpu_seconds = (field(14) + field(15)) / ticks;
  figures.threads = static_cast<int64_t>(field(20));
  figures.start_s = boot_time_s() + field(22) / ticks;
  figures.virtual_bytes = static_cast<int64_t>(field(23));
  figures.resident_bytes = static_cast<int64_t>(field(24)) * sysconf(_SC_PAGESIZE);
  figures.open_files = count_entries(folder + "/fd");
  rlimit limit{};
  if (prlimit(pid, RLIMIT_NOFILE, nullptr, &limit) == 0) figures.most_open_files = static_cast<int64_t>(limit.rlim_cur);
  return figures;
}

std::string process_metrics_text(const std::string& program) {
  MetricFamilies families;
  families.gauge("millrace_build_info", "1; its labels say what runs.")
      .add({{"program", program}, {"version", MILLRACE_VERSION}}, 1);
  const std::optional<ProcessFigures> figures = figures_of_process(getpid());
  if (!figures) return families.text();
  families.counter("process_cpu_seconds_total", "Processor time of this process, user and system.")
      .add({}, figures->cpu_seconds);
  families.gauge("process_resident_memory_bytes", "Memory of this process that is in RAM.")
      .add({}, static_cast<double>(figures->resident_bytes));
  families.gauge("process_virtual_memory_bytes", "Address space of this process.")
      .add({}, static_cast<double>(figures->virtual_bytes));
  families.gauge("process_open_fds", "File descriptors that are open.")
      .add({}, static_cast<double>(figures->open_files));
  families.gauge("process_max_fds", "File descriptors that may be open.")
      .add({}, static_cast<double>(figures->most_open_files));
  families.gauge("process_threads", "Threads of this process.").add({}, static_cast<double>(figures->threads));
  families.gauge("process_start_time_seconds", "When this process began, since 1970 UTC.").add({}, figures->start_s);
  return families.text();
}

}  // namespace millrace
