#include "adapters/logging.h"

#include <glog/logging.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/base/log_context.h"

namespace millrace {
namespace {

std::string time_text(int64_t unix_us) {
  const std::time_t seconds = unix_us / 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(unix_us % 1'000'000));
  return text.data();
}

// At once, so that lines of several threads and processes do not mix.
void write_to_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno != EINTR) return;
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
}

// Called by whichever thread logs, one at a time.
class JsonSink : public google::LogSink {
 public:
  explicit JsonSink(LogOptions options) : options_(std::move(options)) {}

  using google::LogSink::send;
  void send(google::LogSeverity severity, const char* /*full_filename*/, const char* base_filename, int line,
            const google::LogMessageTime& time, const char* message, size_t message_len) override {
    LogLine told{.level = google::GetLogSeverityName(severity),
                 .file = base_filename,
                 .line = line,
                 .unix_us = static_cast<int64_t>(time.timestamp()) * 1'000'000 + time.usec(),
                 .message = std::string_view(message, message_len)};
    if (const LogContext* context = LogContext::current(); context != nullptr) {
      told.job = context->job();
      told.batch = context->batch().value();
    }
    write_to_stderr(json_log_line(options_, told));
  }

 private:
  const LogOptions options_;
};

}  // namespace

std::string json_log_line(const LogOptions& options, const LogLine& line) {
  nlohmann::ordered_json object = {{"time", time_text(line.unix_us)}, {"level", std::string(line.level)}};
  const auto add = [&object](const char* name, std::string_view value) {
    if (!value.empty()) object[name] = std::string(value);
  };
  add("program", options.program);
  add("worker", options.worker);
  add("job", line.job.empty() ? std::string_view(options.job) : line.job);
  if (line.batch > 0) object["batch"] = line.batch;
  object["pid"] = getpid();
  object["place"] = std::string(line.file) + ":" + std::to_string(line.line);
  object["message"] = std::string(line.message);
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Status start_logging(const char* program_name, LogOptions options) {
  if (options.format != "text" && options.format != "json") {
    return fail(ErrorCode::kInvalid, "--log_format is '" + options.format + "'; it must be text or json");
  }
  const bool json = options.format == "json";
  FLAGS_logtostderr = !json;
  if (json) {
    // Only the sink writes: neither standard error nor files get glog's own lines.
    FLAGS_stderrthreshold = google::NUM_SEVERITIES;
    for (google::LogSeverity severity = 0; severity < google::NUM_SEVERITIES; ++severity) {
      google::SetLogDestination(severity, "");
    }
    static JsonSink* const sink = new JsonSink(std::move(options));  // as long as anybody may log
    google::AddLogSink(sink);
  }
  google::InitGoogleLogging(program_name);
  return {};
}

}  // namespace millrace
