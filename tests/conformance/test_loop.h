// TestLoop: a TaskLoop that the test itself turns, so that one suite runs on fakes and on adapters with threads.
// It is the test's thread; posts may come from any. Timers run in the order of (time, sequence): in virtual time they
// run as soon as nothing else is to do, in real time when they are due.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "common/seams/task_loop.h"

namespace millrace {

class TestLoop : public TaskLoop {
 public:
  enum class Time { kVirtual, kReal };
  explicit TestLoop(Time time) : time_(time) {}

  void post(Task task) override {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }
  TimerId schedule(Duration delay, Task task) override {
    const TimerId id = ++last_timer_;
    timers_.emplace(std::pair(now() + delay, id), std::move(task));
    return id;
  }
  void cancel(TimerId timer) override {
    std::erase_if(timers_, [timer](const auto& each) { return each.first.second == timer; });
  }
  [[nodiscard]] bool on_loop() const override { return std::this_thread::get_id() == thread_; }

  // Turns until `condition` holds. False: nothing is left to do (virtual time), or it takes longer than `limit`.
  bool run_until(const std::function<bool()>& condition, Duration limit = std::chrono::seconds(30)) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      if (!run_one() && time_ == Time::kVirtual) return false;
    }
    return true;
  }

 private:
  [[nodiscard]] Duration now() const {
    if (time_ == Time::kVirtual) return virtual_now_;
    return std::chrono::steady_clock::now().time_since_epoch();
  }

  // Runs a task or a due timer; in real time waits a little for one. False: there is none.
  bool run_one() {
    Task task;
    {
      std::unique_lock lock(mutex_);
      const bool due = !timers_.empty() && (time_ == Time::kVirtual || timers_.begin()->first.first <= now());
      if (tasks_.empty() && !due && time_ == Time::kReal) {
        changed_.wait_for(lock, std::chrono::milliseconds(1), [this] { return !tasks_.empty(); });
      }
      if (!tasks_.empty()) {
        task = std::move(tasks_.front());
        tasks_.pop_front();
      } else if (due) {
        virtual_now_ = timers_.begin()->first.first;
        task = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
      } else {
        return false;
      }
    }
    task();
    return true;
  }

  const Time time_;
  const std::thread::id thread_ = std::this_thread::get_id();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;  // guarded by mutex_
  std::map<std::pair<Duration, TimerId>, Task> timers_;
  TimerId last_timer_ = 0;
  Duration virtual_now_ = Duration::zero();
};

// Starts a call that answers by `done` and turns the loop until it has. An answer that does not come is an error.
template <typename T>
Result<T> wait_for(TestLoop& loop, const std::function<void(std::move_only_function<void(Result<T>)>)>& call) {
  auto answer = std::make_shared<std::optional<Result<T>>>();
  call([answer](Result<T> result) { answer->emplace(std::move(result)); });
  if (!loop.run_until([&] { return answer->has_value(); })) return fail(ErrorCode::kTimeout, "no answer came");
  return std::move(**answer);
}

}  // namespace millrace
