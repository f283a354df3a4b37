#include "common/runtime/event_loop.h"

#include <pthread.h>

#include <algorithm>
#include <future>
#include <memory>

#include "common/base/check.h"

namespace millrace {
namespace {

// Tasks run between two looks at the timers.
constexpr size_t kBurst = 64;

thread_local const EventLoop* current_loop = nullptr;

}  // namespace

EventLoop::EventLoop(std::string name, size_t max_tasks) : name_(std::move(name)), max_tasks_(max_tasks) {}

EventLoop::~EventLoop() {
  stop();
  join();
  drop_everything();  // of a loop that was never started
}

void EventLoop::start() {
  CHECK(!thread_.joinable()) << "loop " << name_ << " was started twice";
  thread_ = std::thread([this] { run(); });
}

void EventLoop::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_one();
}

void EventLoop::join() {
  CHECK(!on_loop()) << "loop " << name_ << " cannot wait for its own end";
  if (thread_.joinable()) thread_.join();
}

bool EventLoop::run_and_wait(Task task) {
  CHECK(!on_loop()) << "loop " << name_ << " would wait for itself";
  auto done = std::make_shared<std::promise<void>>();
  auto future = done->get_future();
  bool ran = false;
  // The promise lives in the task alone: dropping the task ends the wait too. `task` is moved in, so it is also
  // destroyed on the loop.
  post([&ran, done = std::move(done), body = std::move(task)]() mutable {
    body();
    body = nullptr;
    ran = true;
    done->set_value();
  });
  future.wait();
  return ran;
}

void EventLoop::post(Task task) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    CHECK_LT(queue_.size(), max_tasks_) << "the queue of loop " << name_ << " has no end";
    queue_.push_back(std::move(task));
    wake = std::exchange(waiting_, false);
  }
  // Without the lock, for which the loop would have to wait at once.
  if (wake) changed_.notify_one();
}

TaskLoop::TimerId EventLoop::schedule(Duration delay, Task task) {
  CHECK(on_loop()) << "timer of loop " << name_ << " set from another thread";
  const TimerId id = next_timer_++;
  const TimePoint at = std::chrono::steady_clock::now() + std::max(delay, Duration::zero());
  timers_.emplace(std::pair(at, id), std::move(task));
  timer_times_.emplace(id, at);
  return id;
}

void EventLoop::cancel(TimerId timer) {
  CHECK(on_loop()) << "timer of loop " << name_ << " cancelled from another thread";
  const auto found = timer_times_.find(timer);
  if (found == timer_times_.end()) return;
  timers_.erase(std::pair(found->second, timer));
  timer_times_.erase(found);
}

bool EventLoop::on_loop() const {
  return current_loop == this;
}

void EventLoop::run() {
  current_loop = this;
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  std::vector<Task> burst;
  burst.reserve(kBurst);
  while (take(burst)) {
    for (Task& task : burst) {
      if (!stopped_) task();
      task = nullptr;  // what it holds goes before the next one runs
    }
    burst.clear();
    if (!stopped_) run_timers();
  }
  drop_everything();
}

bool EventLoop::take(std::vector<Task>& burst) {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return stopped_ || !queue_.empty(); };
  while (!ready()) {
    waiting_ = true;
    if (timers_.empty()) {
      changed_.wait(lock);
    } else if (changed_.wait_until(lock, timers_.begin()->first.first) == std::cv_status::timeout) {
      break;
    }
  }
  waiting_ = false;
  if (stopped_) return false;
  while (!queue_.empty() && burst.size() < kBurst) {
    burst.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return true;
}

void EventLoop::run_timers() {
  if (timers_.empty()) return;
  // Only those that are due now: a timer that sets itself again at once does not keep the queue waiting.
  const TimePoint now = std::chrono::steady_clock::now();
  const TimerId newest = next_timer_;
  while (!timers_.empty() && !stopped_) {
    const auto first = timers_.begin();
    if (first->first.first > now || first->first.second >= newest) break;
    Task task = std::move(first->second);
    timer_times_.erase(first->first.second);
    timers_.erase(first);
    task();
  }
}

void EventLoop::drop_everything() {
  std::deque<Task> dropped;
  {
    const std::lock_guard lock(mutex_);
    dropped.swap(queue_);
  }
  dropped.clear();
  auto timers = std::move(timers_);
  timers_.clear();
  timer_times_.clear();
  timers.clear();
}

}  // namespace millrace
