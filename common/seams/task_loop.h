// TaskLoop: the single thread of control that a role lives on. A role's methods are only ever called from its
// loop; whatever comes from elsewhere (another loop, an adapter's thread) is posted to it.
//
// Real: one thread with a queue and timers (common/runtime/event_loop.h).
// Fake: the simulator's queue ordered by (virtual time, sequence).
#pragma once

#include <cstdint>
#include <functional>

#include "common/base/time.h"

namespace millrace {

class TaskLoop {
 public:
  using Task = std::move_only_function<void()>;
  using TimerId = uint64_t;  // 0 is never a timer

  virtual ~TaskLoop() = default;

  // Runs `task` on the loop, in the order of posting. Thread-safe. After the loop was stopped tasks are dropped.
  virtual void post(Task task) = 0;

  // Runs `task` once, not before `delay` has passed. From the loop's own thread only.
  virtual TimerId schedule(Duration delay, Task task) = 0;
  // A timer that has fired or was cancelled is ignored. From the loop's own thread only.
  virtual void cancel(TimerId timer) = 0;

  // True on the loop's own thread; roles CHECK it where a mistake would be silent.
  [[nodiscard]] virtual bool on_loop() const = 0;
};

}  // namespace millrace
