#include "client/output.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "common/base/text.h"

namespace millrace::client {
namespace {

bool is_number(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0 || c == '.'; });
}

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

}  // namespace

std::string Output::shown(const std::string& text) const {
  return terminal ? printable(text) : text;
}

void Table::print(const Output& output, const std::string& indent) const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  std::vector<bool> right(widths.size(), rows_.size() > 1);
  for (size_t row = 0; row < rows_.size(); ++row) {
    for (size_t column = 0; column < widths.size(); ++column) {
      const std::string& cell = rows_[row][column];
      widths[column] = std::max(widths[column], width_of(cell));
      if (row > 0 && !is_number(cell) && cell != "-" && !cell.empty()) right[column] = false;
    }
  }
  for (const auto& row : rows_) {
    std::string line = indent;
    for (size_t column = 0; column < widths.size(); ++column) {
      const std::string padding(widths[column] - width_of(row[column]), ' ');
      line += right[column] ? padding + row[column] : row[column] + padding;
      if (column + 1 < widths.size()) line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    output.stream << line << "\n";
  }
}

void print_json(const Output& output, const nlohmann::ordered_json& object) {
  output.stream << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

void print_job_types(const Output& output, const std::vector<api::JobType>& types) {
  for (const auto& type : types) {
    output.stream << type.name << ": " << output.shown(type.description) << "\n";
    for (const auto& setting : type.settings) {
      output.stream << "  --set " << setting.name << "=" << output.shown(setting.default_value);
      if (!setting.description.empty()) output.stream << "  " << output.shown(setting.description);
      output.stream << "\n";
    }
  }
}

void print_job(const Output& output, const api::JobSummary& job, const std::string& what) {
  if (output.json) return print_json(output, json_of(job));
  output.stream << "job " << job.name << " " << what << ": " << job.state << " at batch " << job.applied.batch;
  if (!job.problem.empty()) output.stream << "; " << output.shown(job.problem);
  output.stream << "\n";
}

void print_values(const Output& output, const api::Values& values) {
  for (const api::Value& value : values.values) {
    output.stream << output.shown(value.key) << "\t" << (value.found ? output.shown(value.text) : "-") << "\n";
  }
}

std::string microseconds(int64_t us) {
  if (us >= 1'000'000) return formatted("%.2fs", static_cast<double>(us) / 1e6);
  return formatted("%.1fms", static_cast<double>(us) / 1e3);
}

std::string bytes_text(int64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double amount = static_cast<double>(bytes) / 1024;
  const char* unit = "KiB";
  for (const char* next : {"MiB", "GiB", "TiB"}) {
    if (amount < 1024) break;
    amount /= 1024;
    unit = next;
  }
  return formatted("%.1f ", amount) + unit;
}

std::string counted(int64_t n, const std::string& things) {
  return std::to_string(n) + " " + (n == 1 ? things.substr(0, things.size() - 1) : things);
}

std::string rate_text(double records) {
  if (records >= 1e6) return formatted("%.1f M/s", records / 1e6);
  if (records >= 1e3) return formatted("%.1f k/s", records / 1e3);
  return formatted("%.0f/s", records);
}

std::string duration_text(double seconds) {
  if (seconds < 10) return formatted("%.1f s", seconds);
  const auto whole = static_cast<int64_t>(seconds);
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + std::to_string(whole / 60 % 60) + " min";
}

std::string time_text(int64_t unix_ms) {
  if (unix_ms <= 0) return "-";
  const time_t seconds = unix_ms / 1000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  const size_t length = std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
  char fraction[16];
  std::snprintf(fraction, sizeof(fraction), ".%03dZ", static_cast<int>(unix_ms % 1000));
  return std::string(text, length) + fraction;
}

}  // namespace millrace::client
