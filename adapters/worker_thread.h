// WorkerThread: the thread of an adapter that has to block (on a disk or a socket) for a role that must not.
// Work runs on it one by one, in the order of run(); answers go back to the loop by complete().
//
// Made and destroyed on the loop. Destruction waits for the piece of work that is running, drops the rest, and
// drops answers that have not been run on the loop yet: nothing is called after it. SIGPIPE is blocked on the
// thread, so that a peer that closed a socket is an error and not the end of the process.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/seams/task_loop.h"

namespace millrace {

class WorkerThread {
 public:
  using Work = std::move_only_function<void()>;

  // `name` is shown by ps -L, at most 15 characters.
  WorkerThread(TaskLoop& loop, std::string name);
  ~WorkerThread();
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  // Thread-safe. The caller bounds how much it asks for.
  void run(Work work);
  [[nodiscard]] size_t waiting() const;

  // From the thread or the loop: runs `task` on the loop unless this is destroyed first.
  void complete(TaskLoop::Task task);

  // True once destruction began: long work looks at it and gives up.
  [[nodiscard]] bool stopping() const { return stopping_.load(std::memory_order_relaxed); }
  // Ends the thread early; what the work refers to may go after it. Idempotent, from the loop.
  void stop();

 private:
  struct Alive {};

  void serve(const std::string& name);

  // Constant after construction.
  TaskLoop& loop_;                                                  // outlives this
  const std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();  // gone when this is; looked at on the loop only

  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace millrace
