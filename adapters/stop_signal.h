// StopSignal: what a thread that waits for a descriptor, or for time, is stopped by.
#pragma once

#include <atomic>
#include <chrono>

#include "adapters/file_descriptor.h"

namespace millrace {

// Thread-safe.
class StopSignal {
 public:
  enum class Woken { kReady, kTimeout, kStopped };
  static constexpr auto kNoLimit = std::chrono::milliseconds(-1);

  StopSignal();

  // For good.
  void stop();
  [[nodiscard]] bool stopped() const { return stopped_; }

  // Waits for one of poll(2)'s events of the descriptor; an error of it is one, too.
  [[nodiscard]] Woken wait(int descriptor, short events, std::chrono::milliseconds limit) const;
  // Waits. False: it was stopped.
  [[nodiscard]] bool pause(std::chrono::milliseconds length) const;

 private:
  const FileDescriptor wake_;  // an eventfd, readable from stop() on
  std::atomic<bool> stopped_{false};
};

}  // namespace millrace
