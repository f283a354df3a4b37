// EmbeddedLogWaker: what the reading thread of an EmbeddedLog sleeps on: the announcement page once there is one
// (appends of the owner's process wake it), a word of its own before. Wakes of this process (a reader opened or
// closed, credit given back) go to the same word, and only while the thread sleeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "adapters/embedded_log_files.h"

namespace millrace {

// wake() is thread-safe; the rest is the reading thread's.
class EmbeddedLogWaker {
 public:
  void wake() {
    const std::scoped_lock lock(mutex_);
    called_ = true;
    if (sleeping_) futex_wake_all(word());
  }

  // From now on the page wakes too. Before it is read the first time.
  void attach(std::shared_ptr<Announcement> announcement) {
    const std::scoped_lock lock(mutex_);
    announcement_ = std::move(announcement);
    seen_ = word().load(std::memory_order_acquire);
  }

  // Before looking for work: whatever happens after this keeps sleep() from sleeping.
  void prepare() {
    const std::scoped_lock lock(mutex_);
    called_ = false;
    seen_ = word().load(std::memory_order_acquire);
  }

  void sleep(int timeout_ms) {
    std::shared_ptr<Announcement> held;
    {
      const std::scoped_lock lock(mutex_);
      if (called_) return;
      sleeping_ = true;
      held = announcement_;
    }
    futex_wait(held ? held->wake_word() : own_word_, seen_, timeout_ms);
    const std::scoped_lock lock(mutex_);
    sleeping_ = false;
  }

 private:
  std::atomic<uint32_t>& word() { return announcement_ ? announcement_->wake_word() : own_word_; }

  std::mutex mutex_;
  bool called_ = false;
  bool sleeping_ = false;
  uint32_t seen_ = 0;
  std::atomic<uint32_t> own_word_{0};
  std::shared_ptr<Announcement> announcement_;
};

// The read-ahead of one reader: bytes of chunks that were delivered and not yet released.
class EmbeddedLogCredit {
 public:
  explicit EmbeddedLogCredit(std::shared_ptr<EmbeddedLogWaker> waker) : waker_(std::move(waker)) {}
  void take(size_t bytes) { taken_.fetch_add(bytes); }
  void give_back(size_t bytes) {
    taken_.fetch_sub(bytes);
    waker_->wake();
  }
  [[nodiscard]] size_t taken() const { return taken_.load(); }

 private:
  std::shared_ptr<EmbeddedLogWaker> waker_;
  std::atomic<size_t> taken_{0};
};

}  // namespace millrace
