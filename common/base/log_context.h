// LogContext: which job and batch a thread is busy with, for log lines of which a program reads the fields. As long as
// it lives, lines of its thread are about these; the innermost one counts.
#pragma once

#include <string>
#include <utility>

#include "common/base/ids.h"

namespace millrace {

class LogContext {
 public:
  // `job`: its name, empty: that of this process, if it has one; batch 0: none.
  LogContext(std::string job, BatchId batch) : job_(std::move(job)), batch_(batch), outer_(current_) {
    current_ = this;
  }
  ~LogContext() { current_ = outer_; }
  LogContext(const LogContext&) = delete;
  LogContext& operator=(const LogContext&) = delete;

  // Of this thread; null: none.
  [[nodiscard]] static const LogContext* current() { return current_; }
  [[nodiscard]] const std::string& job() const { return job_; }
  [[nodiscard]] BatchId batch() const { return batch_; }

 private:
  static inline thread_local const LogContext* current_ = nullptr;

  const std::string job_;
  const BatchId batch_;
  const LogContext* const outer_;
};

}  // namespace millrace
