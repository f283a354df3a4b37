// Seats: so many may be taken at once, each until nobody holds it any more. Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

namespace millrace {

class Seats {
 public:
  using Seat = std::shared_ptr<void>;

  explicit Seats(size_t most) : most_(most) {}

  [[nodiscard]] size_t most() const { return most_; }

  // Null: all are taken. It may be held for longer than this is there.
  Seat take() {
    if (++*taken_ <= most_) return {taken_.get(), [taken = taken_](void*) { --*taken; }};
    --*taken_;
    return nullptr;
  }

 private:
  const size_t most_;
  const std::shared_ptr<std::atomic<size_t>> taken_ = std::make_shared<std::atomic<size_t>>(0);
};

}  // namespace millrace
