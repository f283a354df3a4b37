#include "stream/job_builder.h"

#include <algorithm>
#include <charconv>

#include "common/model/duration.h"

namespace millrace {
namespace {

// "field=... (...), rank=... (...)", for messages; "none" if there are none.
std::string describe_settings(const std::vector<JobSetting>& settings) {
  if (settings.empty()) return "none";
  std::string text;
  for (const JobSetting& each : settings) {
    if (!text.empty()) text += ", ";
    text += each.name + "=" + each.default_value + " (" + each.description + ")";
  }
  return text;
}

Status check_context(const JobContext& context) {
  constexpr int32_t kMaxStatePartitions = 1 << 16;
  if (context.state_partitions < 1 || context.state_partitions > kMaxStatePartitions) {
    return fail(ErrorCode::kInvalid, "the number of state partitions must be from 1 to 65536, not " +
                                         std::to_string(context.state_partitions));
  }
  if (context.partition_hash != 1) {
    return fail(ErrorCode::kInvalid,
                "version " + std::to_string(context.partition_hash) +
                    " of the partition hash is not known to this program, only 1; use a newer one");
  }
  constexpr int64_t kMaxRecordBytes = int64_t{1} << 30;
  if (context.max_record_bytes < 1 || context.max_record_bytes > kMaxRecordBytes) {
    return fail(ErrorCode::kInvalid, "the longest record must be from 1 to 1073741824 bytes, not " +
                                         std::to_string(context.max_record_bytes));
  }
  if (context.batch_interval_us < 1) {
    return fail(ErrorCode::kInvalid,
                "the batch interval must be at least a microsecond, not " + std::to_string(context.batch_interval_us));
  }
  return {};
}

std::unexpected<Error> threw(const JobDefinition& definition, const std::exception& problem) {
  return fail(ErrorCode::kInvalid, "job type '" + std::string(definition.name) + "': " + problem.what());
}

}  // namespace

std::string JobBuilder::setting(const std::string& name, std::string default_value, std::string description) {
  const bool twice = std::ranges::any_of(settings_, [&](const JobSetting& each) { return each.name == name; });
  if (twice) throw JobError("the job's code declares the setting '" + name + "' twice; read it once");
  settings_.push_back({name, std::move(default_value), std::move(description)});
  const auto given = context_.settings.find(name);
  return given != context_.settings.end() ? given->second : settings_.back().default_value;
}

std::string JobBuilder::required(const std::string& name, std::string description) {
  std::string value = setting(name, "", std::move(description));
  if (value.empty() && !missing_) missing_ = name;
  return value;
}

std::string JobBuilder::choice(const std::string& name, const std::vector<std::string>& values,
                               std::string description) {
  std::string value = setting(name, values.front(), std::move(description));
  if (std::ranges::find(values, value) != values.end()) return value;
  std::string expected;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i != 0) expected += i + 1 < values.size() ? ", " : " or ";
    expected += values[i];
  }
  throw JobError("setting '" + name + "' must be " + expected + ", not '" + value +
                 "'; its settings: " + describe_settings(settings_));
}

int64_t JobBuilder::number(const std::string& name, int64_t default_value, int64_t least, int64_t most,
                           std::string description) {
  const std::string text = setting(name, std::to_string(default_value), std::move(description));
  int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem == std::errc{} && end == text.data() + text.size() && value >= least && value <= most) return value;
  throw JobError("setting '" + name + "' must be a whole number from " + std::to_string(least) + " to " +
                 std::to_string(most) + ", not '" + text + "'; its settings: " + describe_settings(settings_));
}

double JobBuilder::decimal(const std::string& name, double default_value, double least, double most,
                           std::string description) {
  const std::string text = setting(name, text_of(default_value), std::move(description));
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem == std::errc{} && end == text.data() + text.size() && value >= least && value <= most) return value;
  throw JobError("setting '" + name + "' must be a number from " + text_of(least) + " to " + text_of(most) + ", not '" +
                 text + "'; its settings: " + describe_settings(settings_));
}

std::chrono::milliseconds JobBuilder::duration(const std::string& name, const std::string& default_value,
                                               std::string description) {
  const auto parsed = parse_duration_ms(setting(name, default_value, std::move(description)));
  if (parsed) return std::chrono::milliseconds(*parsed);
  throw JobError("setting '" + name + "': " + parsed.error().message);
}

std::shared_ptr<const internal::Graph> JobBuilder::finish() const {
  for (const auto& [name, value] : context_.settings) {
    if (std::ranges::any_of(settings_, [&](const JobSetting& each) { return each.name == name; })) continue;
    throw JobError("there is no setting '" + name + "'; its settings: " + describe_settings(settings_));
  }
  if (missing_)
    throw JobError("setting '" + *missing_ + "' must be given; its settings: " + describe_settings(settings_));
  graph_->finish(context_);
  return graph_;
}

Result<std::vector<JobSetting>> settings_of(const JobDefinition& definition, const JobContext& context) {
  try {
    JobBuilder builder(context);
    definition.define(builder);
    return builder.settings();
  } catch (const std::exception& problem) {
    return threw(definition, problem);
  }
}

Result<std::shared_ptr<const Job>> make_job(const JobDefinition& definition, const JobContext& context) {
  if (Status status = check_context(context); !status) return std::unexpected(status.error());
  try {
    JobBuilder builder(context);
    definition.define(builder);
    return std::make_shared<internal::GraphJob>(builder.finish(), context);
  } catch (const std::exception& problem) {
    return threw(definition, problem);
  }
}

}  // namespace millrace
