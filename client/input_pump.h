// InputPump: brings the lines of a descriptor to a LocalRun, on a thread of its own.
#pragma once

#include <atomic>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>

#include "client/local_run.h"
#include "common/base/error.h"

namespace millrace::client {

// Made before other threads are, since it blocks a signal (SIGUSR1, which ends its waiting); the rest thread-safe.
class InputPump {
 public:
  explicit InputPump(int descriptor);
  ~InputPump();  // stops reading; `run` must be there still
  InputPump(const InputPump&) = delete;
  InputPump& operator=(const InputPump&) = delete;

  void start(LocalRun& run);

  // Why no more could be read.
  [[nodiscard]] std::optional<Error> failure() const;
  [[nodiscard]] int64_t lines() const { return lines_; }
  // How much of a file has been read, from 0 to 1; none: the input is no file.
  [[nodiscard]] std::optional<double> share_read() const;

 private:
  void pump();
  void fail(Error error);

  // Constant after construction.
  const int descriptor_;
  sigset_t while_waiting_{};
  int64_t size_ = 0;  // from where it stood; 0: no file

  LocalRun* run_ = nullptr;  // once it is started
  std::atomic<bool> over_{false};
  std::atomic<int64_t> lines_{0};
  std::atomic<int64_t> bytes_{0};
  mutable std::mutex mutex_;
  std::optional<Error> failure_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace millrace::client
