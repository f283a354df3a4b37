// EventLoop: a TaskLoop that is a real thread: a queue of tasks and a set of timers, run one at a time.
//
// Any thread posts; the loop's own thread runs. Timers are looked at between tasks, so a long burst of posts does
// not starve them, and a timer never fires early. The queue has a bound that only a bug reaches (whoever posts
// without limit must have a bound of its own), so reaching it is a CHECK with the loop's name.
//
// Life: made, start(), stop() from anywhere, join(). Tasks posted before start() wait for it. What has not run when
// the loop stops is destroyed on the loop's thread without being run. Roles are made and ended on the loop by
// run_and_wait(). A loop outlives every call of post(), of that too whose task leads to its end.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/seams/task_loop.h"

namespace millrace {

class EventLoop final : public TaskLoop {
 public:
  static constexpr size_t kMaxTasks = 1'000'000;

  // `name` is the thread's name in top and gdb (the kernel keeps 15 characters of it).
  explicit EventLoop(std::string name, size_t max_tasks = kMaxTasks);
  ~EventLoop() override;  // stops and joins
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void start();  // once
  void stop();   // thread-safe, from the loop too; returns at once
  void join();   // until the thread has ended; not from the loop

  // Runs `task` on the loop and returns when it is done. False: the loop has stopped and the task was dropped.
  // From other threads only, after start().
  bool run_and_wait(Task task);

  // TaskLoop
  void post(Task task) override;
  TimerId schedule(Duration delay, Task task) override;
  void cancel(TimerId timer) override;
  [[nodiscard]] bool on_loop() const override;

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  void run();
  // Waits for tasks, a timer or the stop. False: stopped.
  bool take(std::vector<Task>& burst);
  void run_timers();
  void drop_everything();

  // Constant after construction.
  const std::string name_;
  const size_t max_tasks_;

  // Guarded by mutex_.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> queue_;
  bool waiting_ = false;
  std::atomic<bool> stopped_ = false;  // written under mutex_

  // Owned by the loop's thread.
  std::map<std::pair<TimePoint, TimerId>, Task> timers_;  // in the order of firing
  std::unordered_map<TimerId, TimePoint> timer_times_;
  TimerId next_timer_ = 1;

  std::thread thread_;
};

}  // namespace millrace
