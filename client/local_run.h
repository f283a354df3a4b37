// LocalRun: a job that runs within this process, for `millrace run`: what the command line asks of it. main gives the
// one of local/, tests a fake.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "millrace_types.h"

namespace millrace::client {

struct LocalRunSpec {
  api::SubmitRequest request;  // without a source: append() brings the records; it may be a socket or directory, too
  int32_t lanes = 1;
  std::string logs;           // folder of the embedded logs, for a source log://NAME
  bool until_latest = false;  // the source ends where it ended at the beginning
  // Takes the lines of outputs that have no place, each ended by a newline; by one thread at a time, which is none of
  // those that use the LocalRun.
  std::function<Status(std::string_view lines)> show_lines;
};

// As of one moment; the counts as of the newest complete batch.
struct LocalRunState {
  bool finished = false;  // all there is has been counted
  std::string failure;    // why it does not go on, ever
  std::string problem;    // what is in its way just now
  int64_t records = 0;
  int64_t dead_letters = 0;
  int64_t late = 0;          // records that came too late for some window by event time
  double done_of_known = 0;  // of the records that are known to come, those that were counted, from 0 to 1
  bool has_rank = false;     // of the table that was asked for
  std::vector<std::pair<std::string, std::string>> top;  // key and value, the highest first
};

struct BadRecord {
  std::string place;  // "line 17", "line 17 of FILE", "partition 2, offset 5"
  std::string reason;
};

// Used by one thread, append() and end_input() by another one.
class LocalRun {
 public:
  virtual ~LocalRun() = default;  // after end(), or as it

  // Takes lines, in their order. Waits while enough is under way. False: the run ends, no more is taken.
  virtual bool append(std::span<const std::string_view> lines) = 0;
  virtual void end_input() = 0;
  // append() takes no more, and who waits there returns.
  virtual void refuse_input() = 0;

  // With the highest of a table; "": the job's first one.
  virtual LocalRunState state(const std::string& table, size_t top) = 0;
  virtual std::vector<BadRecord> bad_records(int32_t limit) = 0;

  // Ends the work; from then on there is nothing but the values. Nobody may wait in append() any more.
  virtual void end() = 0;
  // Every key of the table with its value: the highest first where it has a rank, else by key. After end() only.
  virtual void for_each_value(const std::string& table,
                              const std::function<void(const std::string& key, const std::string& value)>& use) = 0;
};

// kInvalid: the job, a setting or a URI is wrong.
using StartLocalRun = std::function<Result<std::unique_ptr<LocalRun>>(const LocalRunSpec& spec)>;

}  // namespace millrace::client
