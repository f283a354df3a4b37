// QueuedStream: what is sent on a connection of an HttpServer, until the connection takes it. PartsUnderWay: what it
// has taken, until that is written.
#pragma once

#include <boost/asio/buffer.hpp>
#include <functional>
#include <list>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "common/seams/http.h"

namespace millrace {

class QueuedStream final : public HttpStream {
 public:
  // `most_bytes`: that wait, besides those that were taken; one part always may. `wake` is called on any thread, when
  // there is something to take after a take() that found nothing.
  QueuedStream(size_t most_bytes, std::function<void()> wake) : most_bytes_(most_bytes), wake_(std::move(wake)) {}

  bool send(Part part) override {
    std::unique_lock lock(mutex_);
    if (ended_) return false;
    if (!parts_.empty() && bytes_ + part->size() > most_bytes_) {
      // What is left out would be missing in what follows, so nothing may follow.
      ended_ = broken_ = true;
      return false;
    }
    bytes_ += part->size();
    parts_.push_back(std::move(part));
    wake(lock);
    return true;
  }
  void end() override { end(false); }
  void give_up() override { end(true); }
  void when_taken(std::move_only_function<void()> next) override {
    {
      const std::lock_guard lock(mutex_);
      if (!ended_ && !awaited_) {
        next_ = std::move(next);
        return;
      }
    }
    next();
  }

  struct Taken {
    std::vector<Part> parts;
    bool ended = false;   // there is nothing behind these
    bool broken = false;  // there was, and it is left out, or does not come
  };
  Taken take() {
    std::unique_lock lock(mutex_);
    awaited_ = parts_.empty() && !ended_;
    bytes_ = 0;
    Taken taken{std::exchange(parts_, {}), ended_, broken_};
    if (awaited_) call_next(lock);
    return taken;
  }

 private:
  void end(bool broken) {
    std::unique_lock lock(mutex_);
    ended_ = true;
    broken_ = broken_ || broken;
    const bool awaited = std::exchange(awaited_, false);
    call_next(lock);
    if (awaited) wake_();
  }
  // Lets go of the lock.
  void call_next(std::unique_lock<std::mutex>& lock) {
    auto next = std::exchange(next_, nullptr);
    lock.unlock();
    if (next) next();
  }
  void wake(std::unique_lock<std::mutex>& lock) {
    if (!std::exchange(awaited_, false)) return;
    lock.unlock();
    wake_();
  }

  const size_t most_bytes_;
  const std::function<void()> wake_;
  std::mutex mutex_;
  // Guarded by mutex_.
  std::vector<Part> parts_;
  size_t bytes_ = 0;
  bool awaited_ = false;
  bool ended_ = false;
  bool broken_ = false;
  std::move_only_function<void()> next_;  // null: nobody waits for all to be taken
};

class PartsUnderWay {
 public:
  // `head` goes first. `chunked`: each part is an HTTP chunk, and the end of all is told.
  void begin(std::string head, bool chunked) {
    head_ = std::move(head);
    chunked_ = chunked;
  }
  void put(QueuedStream::Taken taken) {
    parts_ = std::move(taken.parts);
    if (!taken.ended || !chunked_ || end_put_) return;
    end_put_ = true;
    parts_.push_back(std::make_shared<const std::string>());  // which is how chunks end
  }
  [[nodiscard]] bool empty() const { return parts_.empty(); }

  // Valid until clear().
  [[nodiscard]] std::vector<boost::asio::const_buffer> buffers() {
    std::vector<boost::asio::const_buffer> buffers;
    if (!head_.empty()) buffers.emplace_back(boost::asio::buffer(head_));
    for (const HttpStream::Part& part : parts_) {
      const bool is_last = end_put_ && part == parts_.back();
      if (!chunked_) {
        buffers.emplace_back(boost::asio::buffer(*part));
      } else if (!part->empty() || is_last) {  // an empty one would be the end
        static constexpr std::string_view kLineEnd = "\r\n";
        std::ostringstream size;
        size << std::hex << part->size() << kLineEnd;
        buffers.emplace_back(boost::asio::buffer(sizes_.emplace_back(size.str())));
        buffers.emplace_back(boost::asio::buffer(*part));
        buffers.emplace_back(boost::asio::buffer(kLineEnd));
      }
    }
    return buffers;
  }
  void clear() {
    parts_.clear();
    sizes_.clear();
    head_.clear();
  }

 private:
  std::string head_;
  bool chunked_ = false;
  bool end_put_ = false;
  std::vector<HttpStream::Part> parts_;
  std::list<std::string> sizes_;  // of the chunks
};

}  // namespace millrace
