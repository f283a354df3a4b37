// JobBuilder: what a job's definition is given, and what is made of it. For users: millrace/job.h.
#pragma once

#include <chrono>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "stream/job.h"
#include "stream/json_field.h"
#include "stream/split_words.h"
#include "stream/stream.h"

namespace millrace {

// The text of a record: its value, or with a field's name the text of that field of a JSON object. Refuses what is no
// such object.
class TextOf {
 public:
  explicit TextOf(std::string field) : name_(std::move(field)) { open(); }
  TextOf(const TextOf& other) : name_(other.name_) { open(); }
  TextOf(TextOf&&) noexcept = default;
  TextOf& operator=(const TextOf&) = delete;
  TextOf& operator=(TextOf&&) = delete;
  ~TextOf() = default;

  [[gnu::always_inline]] std::expected<std::string_view, std::string> operator()(const Record& record) noexcept {
    if (!field_) [[likely]]
      return record.value;
    return find_field(record.value);
  }

 private:
  [[gnu::noinline]] std::expected<std::string_view, std::string> find_field(std::string_view json) noexcept {
    std::string_view text;
    std::string problem;
    if (!field_->find(json, text, problem)) return std::unexpected(std::move(problem));
    return text;
  }
  void open() {
    if (!name_.empty()) field_.emplace(name_);
  }

  std::string name_;
  std::optional<JsonField> field_;
};

// For filter().
inline constexpr auto kHasValue = [](const Record& record) noexcept { return record.has_value; };

// Collects what a job does. Errors of the definition, and of its settings, are thrown as JobError.
class JobBuilder {
 public:
  // By make_job().
  explicit JobBuilder(const JobContext& context)
      : context_(context), graph_(std::make_shared<internal::Graph>(batch_interval())) {}

  // A setting of the job (--set NAME=VALUE).
  std::string setting(const std::string& name, std::string default_value, std::string description);
  // One without a default: the job is refused where it is not given. It is empty then, since a job can be asked for its
  // settings all the same.
  std::string required(const std::string& name, std::string description);
  // One that has only these values; the first one is the default.
  std::string choice(const std::string& name, const std::vector<std::string>& values, std::string description);

  // The time between two batches, as the job was submitted.
  [[nodiscard]] std::chrono::microseconds batch_interval() const {
    return std::chrono::microseconds(context_.batch_interval_us);
  }

  // One that is a whole number, within bounds.
  int64_t number(const std::string& name, int64_t default_value, int64_t least, int64_t most, std::string description);

  // One that is a number with a fraction, as 0.5 or 1e-3, within bounds.
  double decimal(const std::string& name, double default_value, double least, double most, std::string description);

  // One that is a duration: a whole number and a unit, as 100ms, 1s, 5m, 1h.
  std::chrono::milliseconds duration(const std::string& name, const std::string& default_value,
                                     std::string description);

  // All records of the source, those without a value (Kafka's tombstones) included.
  [[nodiscard]] auto records() const { return Stream<Record>(graph_, internal::Graph::kSource); }
  // The text of each record that has a value; with `field` that of a field of a JSON object.
  [[nodiscard]] auto lines(std::string field = "") const {
    const std::string name = field.empty() ? "lines" : "lines(" + field + ")";
    return records().filter(kHasValue).mapped(TextOf(std::move(field)), nullptr).called(name);
  }

  // Those that were asked for so far.
  [[nodiscard]] const std::vector<JobSetting>& settings() const { return settings_; }
  // The job that was said. Throws JobError if it is none, or for a setting that it does not have.
  [[nodiscard]] std::shared_ptr<const internal::Graph> finish() const;

 private:
  const JobContext& context_;  // outlives this
  std::vector<JobSetting> settings_;
  std::optional<std::string> missing_;  // a required setting
  const std::shared_ptr<internal::Graph> graph_;
};

// What MILLRACE_JOB makes.
struct JobDefinition {
  const char* name;                 // of the job's type
  const char* description;          // for people
  void (*define)(JobBuilder& job);  // says what the job does
};

// The settings of a job, with their defaults.
Result<std::vector<JobSetting>> settings_of(const JobDefinition& definition, const JobContext& context);
// kInvalid where the definition refuses its settings, or the context is none.
Result<std::shared_ptr<const Job>> make_job(const JobDefinition& definition, const JobContext& context);

}  // namespace millrace
