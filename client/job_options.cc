#include "client/job_options.h"

#include <utility>

#include "client/arguments.h"
#include "client/options.h"

namespace millrace::client {
namespace {

constexpr char kOutputs[] = "NAME=file:///DIR or NAME=kafka://HOST:PORT/TOPIC";

}  // namespace

std::function<std::string(const std::string&)> uri_check(std::set<std::string> schemes, std::string expected) {
  return [schemes = std::move(schemes), expected = std::move(expected)](const std::string& text) -> std::string {
    if (text.find(':') == std::string::npos && !schemes.contains(text)) return "it is no URI; expected " + expected;
    const auto parsed = parse_uri(text, expected);
    if (!parsed) return parsed.error().message;
    if (schemes.contains(parsed->scheme)) return "";
    return "'" + parsed->scheme + "' is not what it can be; expected " + expected;
  };
}

void add_job_type(CLI::App* command, JobOptions& options) {
  command
      ->add_option("TYPE", options.request.type,
                   "Type of job (`millrace jobs --available` lists them with their settings), or a shared library with "
                   "jobs, ./libNAME.so")
      ->required();
  command->add_option("--job", options.library_job, "Which of the library's jobs, if it has several");
}

void add_job_options(CLI::App* command, JobOptions& options) {
  command->add_option("--batch-interval", options.batch_interval, "Time between batches")
      ->check(check_duration)
      ->capture_default_str();
  command
      ->add_option("--set", options.settings,
                   "A setting of the job, KEY=VALUE; repeatable; a wrong KEY is answered with those there are, which "
                   "`millrace jobs --available` lists too")
      ->allow_extra_args(false)
      ->check([](const std::string& text) {
        const auto parsed = parse_settings("the setting", {text});
        return parsed ? "" : parsed.error().message;
      });
  const auto config_file = [](const std::string& option) {
    return [option](const std::string& path) {
      const auto read = read_config_file(option, path);
      return read ? "" : read.error().message;
    };
  };
  command->add_option("--kafka-config", options.kafka_config, "File of librdkafka settings, key=value lines")
      ->check(config_file("--kafka-config"));
  command
      ->add_option(
          "--output", options.outputs,
          std::string("Where the job appends, ") + kOutputs + "; repeatable; `millrace explain` tells the names")
      ->allow_extra_args(false)
      ->check([check = uri_check({"file", "kafka"}, kOutputs)](const std::string& text) {
        const size_t equals = text.find('=');
        if (equals == std::string::npos || equals == 0) return std::string("expected ") + kOutputs;
        return check(text.substr(equals + 1));
      });
  command
      ->add_option("--output-config", options.output_config, "File of librdkafka settings of outputs, key=value lines")
      ->check(config_file("--output-config"));
  command->add_option("--sink-config", options.sink_config, "File of the sink's username and password, as key=value")
      ->check(config_file("--sink-config"));
  command->add_option("--max-record-bytes", options.request.max_record_bytes, "Longer records become dead letters")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--state-partitions", options.request.state_partitions, "Parts of the state that workers share")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_flag("--take-over", options.request.take_over, "Replace the keys of another job in the sink");
  command->add_option("--on-bad-record", options.on_bad_record, "dead-letter (and go on) or fail (the job)")
      ->check(CLI::IsMember({"dead-letter", "fail"}))
      ->capture_default_str();
}

Result<api::SubmitRequest> finish_request(const JobOptions& options) {
  api::SubmitRequest request = options.request;
  request.batch_interval_ms = parse_duration_ms(options.batch_interval).value();
  auto settings = parse_settings("--set", options.settings);
  if (!settings) return std::unexpected(settings.error());
  request.settings = std::move(*settings);
  auto outputs = parse_settings("--output", options.outputs);
  if (!outputs) return std::unexpected(outputs.error());
  request.outputs = std::move(*outputs);
  request.fail_on_bad_record = options.on_bad_record == "fail";
  if (!options.kafka_config.empty()) {
    auto config = read_config_file("--kafka-config", options.kafka_config);
    if (!config) return std::unexpected(config.error());
    request.source_config = std::move(*config);
  }
  if (!options.output_config.empty()) {
    auto config = read_config_file("--output-config", options.output_config);
    if (!config) return std::unexpected(config.error());
    request.output_config = std::move(*config);
  }
  if (!options.sink_config.empty()) {
    auto config = read_config_file("--sink-config", options.sink_config);
    if (!config) return std::unexpected(config.error());
    request.sink_config = std::move(*config);
  }
  return request;
}

}  // namespace millrace::client
