// What people and programs read: aligned tables, word<TAB>count, or one JSON object.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "common/api/api_json.h"
#include "millrace_types.h"

namespace millrace::client {

struct Output {
  std::ostream& stream;
  bool json = false;
  bool terminal = false;  // then control characters in what others wrote are escaped

  // Text that came from outside, as it may be written to `stream`.
  [[nodiscard]] std::string shown(const std::string& text) const;
};

// Columns as wide as their widest cell; numbers (cells of digits, with a decimal point or not) to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> titles) : rows_{std::move(titles)} {}
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void print(const Output& output, const std::string& indent = "") const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the first is the titles
};

// One object and the end of the line; bytes that are no UTF-8 are replaced.
void print_json(const Output& output, const nlohmann::ordered_json& object);
// Each with its settings as they are given to submit.
void print_job_types(const Output& output, const std::vector<api::JobType>& types);
// What has become of it; `what` was done to it.
void print_job(const Output& output, const api::JobSummary& job, const std::string& what);
// word<TAB>count each, `-` where there is no such word.
void print_values(const Output& output, const api::Values& values);

using millrace::json_of;
using millrace::json_value;

std::string microseconds(int64_t us);                       // 1234 -> "1.2ms"
std::string bytes_text(int64_t bytes);                      // 1536 -> "1.5 KiB"
std::string counted(int64_t n, const std::string& things);  // 1, "records" -> "1 record"; 2 -> "2 records"
std::string rate_text(double records);                      // a second: 1536.0 -> "1.5 k/s", 3.2e6 -> "3.2 M/s"
std::string duration_text(double seconds);                  // 0.25 -> "0.2 s", 75 -> "1 min 15 s", 7260 -> "2 h 1 min"
std::string time_text(int64_t unix_ms);                     // "2024-01-31 12:00:00.123Z"; "-" for 0 and before

}  // namespace millrace::client
