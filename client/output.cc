#include "client/output.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "common/base/text.h"
#include "common/model/api_json.h"

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

nlohmann::ordered_json json_value(const std::string& text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (!text.empty() && stop == end && error == std::errc()) return number;
  return text;
}

nlohmann::ordered_json json_of(const api::AsOf& as_of) {
  return json_of_as_of<nlohmann::ordered_json>(as_of);
}

nlohmann::ordered_json json_of(const api::JobSummary& job) {
  return {{"name", job.name},
          {"type", job.type},
          {"state", job.state},
          {"as_of", json_of(job.applied)},
          {"batch", job.applied.batch},
          {"published", job.published},
          {"changed", job.changed},
          {"records", job.records},
          {"emitted", job.emitted},
          {"dead_letters", job.dead_letters},
          {"late", job.late},
          {"watermark_ms", job.watermark_ms},
          {"lag_records", job.lag_records},
          {"problem", job.problem}};
}

nlohmann::ordered_json json_of(const api::JobDescription& description) {
  nlohmann::ordered_json object = json_of(description.summary);
  object["source"] = description.source;
  if (!description.receiver.empty()) object["receiver"] = description.receiver;
  if (!description.outputs.empty()) object["outputs"] = description.outputs;
  object["sink"] = description.sink;
  if (description.tables.size() > 1) {
    for (const auto& table : description.tables) {
      object["tables"].push_back({{"name", table.name}, {"rank", table.rank}, {"rank_size", table.rank_size}});
    }
  }
  object["batch_interval_ms"] = description.batch_interval_ms;
  object["checkpoint_interval_ms"] = description.checkpoint_interval_ms;
  object["settings"] = description.settings;
  object["version"] = description.version;
  object["state_partitions"] = description.state_partitions;
  object["checkpoint_batch"] = description.checkpoint_batch;
  if (!description.watermark_held_by.empty()) object["watermark_held_by"] = description.watermark_held_by;
  object["recovering_partitions"] = description.recovering_partitions;
  object["executors"] = nlohmann::ordered_json::array();
  for (const api::ExecutorSummary& executor : description.executors) {
    object["executors"].push_back({{"process", executor.process},
                                   {"worker", executor.worker},
                                   {"state_partitions", executor.state_partitions},
                                   {"log_partitions", executor.log_partitions},
                                   {"applied", executor.applied},
                                   {"keys", executor.keys},
                                   {"memory_bytes", executor.memory_bytes}});
  }
  object["recent"] = nlohmann::ordered_json::array();
  for (const api::BatchProfile& batch : description.recent) {
    object["recent"].push_back({{"batch", batch.batch},
                                {"records", batch.records},
                                {"durable_us", batch.durable_us},
                                {"mapped_us", batch.mapped_us},
                                {"applied_us", batch.applied_us},
                                {"published_us", batch.published_us}});
  }
  return object;
}

nlohmann::ordered_json json_of(const api::JobType& type) {
  nlohmann::ordered_json object = {
      {"name", type.name}, {"description", type.description}, {"settings", nlohmann::ordered_json::array()}};
  for (const auto& setting : type.settings) {
    object["settings"].push_back(
        {{"name", setting.name}, {"default", setting.default_value}, {"description", setting.description}});
  }
  return object;
}

nlohmann::ordered_json json_of(const api::WorkerSummary& worker) {
  return {{"process", worker.process}, {"name", worker.name},      {"endpoint", worker.endpoint},
          {"lanes", worker.lanes},     {"state", worker.state},    {"jobs", worker.jobs},
          {"http", worker.http},       {"problem", worker.problem}};
}

nlohmann::ordered_json json_of(const api::Checkpoint& checkpoint) {
  return {{"batch", checkpoint.batch},     {"incarnation", checkpoint.incarnation}, {"time_ms", checkpoint.time_ms},
          {"version", checkpoint.version}, {"size_bytes", checkpoint.size_bytes},   {"files", checkpoint.files}};
}

nlohmann::ordered_json json_of(const api::BatchProfiles& profiles) {
  return json_of_profiles<nlohmann::ordered_json>(profiles);
}

nlohmann::ordered_json json_of(const api::Lag& lag) {
  nlohmann::ordered_json object = {{"as_of", json_of(lag.as_of)}, {"batch", lag.as_of.batch}};
  object["partitions"] = nlohmann::ordered_json::array();
  int64_t total = 0;
  for (const api::PartitionLag& partition : lag.partitions) {
    const int64_t behind = std::max<int64_t>(0, partition.end_offset - partition.applied_offset);
    total += behind;
    object["partitions"].push_back({{"topic", partition.topic},
                                    {"partition", partition.partition},
                                    {"applied_offset", partition.applied_offset},
                                    {"end_offset", partition.end_offset},
                                    {"lag", behind}});
  }
  object["lag"] = total;
  object["problem"] = lag.problem;
  return object;
}

nlohmann::ordered_json json_of(const api::Values& values, bool with_found) {
  nlohmann::ordered_json object = {{"as_of", json_of(values.as_of)}, {"batch", values.as_of.batch}};
  if (!values.table.empty()) object["table"] = values.table;
  object["values"] = nlohmann::ordered_json::array();
  for (const api::Value& value : values.values) {
    nlohmann::ordered_json entry = {{"word", value.key},
                                    {"count", value.found ? json_value(value.text) : nlohmann::ordered_json(nullptr)}};
    if (with_found) entry["found"] = value.found;
    object["values"].push_back(std::move(entry));
  }
  return object;
}

nlohmann::ordered_json json_of(const api::Docs& page, const std::string& word) {
  nlohmann::ordered_json object = {{"as_of", json_of(page.as_of)},
                                   {"batch", page.as_of.batch},
                                   {"table", page.table},
                                   {"word", word},
                                   {"count", json_value(page.found ? page.value : "0")},
                                   {"next", page.next_page}};
  object["docs"] = nlohmann::ordered_json::array();
  for (const api::Doc& doc : page.docs) object["docs"].push_back({{"doc", doc.member}, {"count", doc.count}});
  return object;
}

nlohmann::ordered_json json_of(const api::DeadLetters& letters) {
  nlohmann::ordered_json object = {{"total", letters.total}};
  object["letters"] = nlohmann::ordered_json::array();
  for (const api::DeadLetter& letter : letters.letters) {
    object["letters"].push_back({{"topic", letter.topic},
                                 {"partition", letter.partition},
                                 {"offset", letter.offset},
                                 {"timestamp_ms", letter.timestamp_ms},
                                 {"reason", letter.reason}});
  }
  return object;
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
