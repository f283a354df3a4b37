// What `submit` and `run` are told of a job in the same words.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "millrace_types.h"

namespace millrace::client {

struct JobOptions {
  api::SubmitRequest request;
  std::string library_job;  // which of a library's jobs; empty: its only one
  std::string batch_interval = "100ms";
  std::vector<std::string> settings;
  std::vector<std::string> outputs;
  std::string kafka_config;
  std::string output_config;
  std::string sink_config;
  std::string on_bad_record = "dead-letter";
};

// The options outlive the parsing.
void add_job_type(CLI::App* command, JobOptions& options);
void add_job_options(CLI::App* command, JobOptions& options);

// The request with what the options say. kInvalid: a file that cannot be read, or a setting twice.
Result<api::SubmitRequest> finish_request(const JobOptions& options);

// Of a URI in one role; what was typed is not repeated where it may hold a password.
std::function<std::string(const std::string&)> uri_check(std::set<std::string> schemes, std::string expected);

}  // namespace millrace::client
