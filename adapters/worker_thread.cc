#include "adapters/worker_thread.h"

#include <pthread.h>
#include <signal.h>

#include <utility>

namespace millrace {

WorkerThread::WorkerThread(TaskLoop& loop, std::string name)
    : loop_(loop), thread_([this, name = std::move(name)] { serve(name); }) {}

WorkerThread::~WorkerThread() {
  stop();
}

void WorkerThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void WorkerThread::run(Work work) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  changed_.notify_one();
}

size_t WorkerThread::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void WorkerThread::complete(TaskLoop::Task task) {
  loop_.post([alive = std::weak_ptr<Alive>(alive_), task = std::move(task)]() mutable {
    if (!alive.expired()) task();
  });
}

void WorkerThread::serve(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  for (;;) {
    Work work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping() || !queue_.empty(); });
      if (stopping()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace millrace
