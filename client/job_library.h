// Job libraries on the command line: a shared library stands where a job's type could. Its code runs in a process of
// its own first, so that one that crashes or hangs costs a sentence.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "common/base/error.h"
#include "common/model/job_shape.h"
#include "millrace_types.h"

namespace millrace::client {

// A job as `explain` shows it and `submit` sends it.
struct ExplainedJob {
  std::string type;
  std::string description;
  std::map<std::string, std::string> settings;  // as given, or by default
  api::JobPlan plan;
  JobShape shape;
};

struct JobToExplain {
  std::string type;     // of a built-in job, or of the library's; empty: the library's only one
  std::string library;  // its path; empty: a built-in job
  std::string bytes;    // of the library
  std::map<std::string, std::string> settings;
  int64_t batch_interval_ms = 100;
  int64_t max_record_bytes = 1 << 20;
  int32_t state_partitions = 64;
};

// In this process; main gives it. kInvalid: no such job, or it does not take the settings.
using ExplainJob = std::function<Result<ExplainedJob>(const JobToExplain& job)>;

// True for what is meant as the path of a library: "./libjobs.so", not "word_count".
bool is_library_path(const std::string& type);

// kInvalid: it cannot be read, or is larger than a master takes.
Result<std::string> read_library(const std::string& path);

// In a process of its own. kInvalid: as ExplainJob, and where that process ends without an answer.
Result<ExplainedJob> explain_library(const JobToExplain& job);

// Makes of a request whose type is a library's path one of the job in it: type, plan and the bytes. Leaves others.
Status add_library(api::SubmitRequest& request, const std::string& job);

}  // namespace millrace::client
