// Where fetched records are received and stay until the last chunk of them is released: FetchBuffer. It takes its
// memory of FetchBlocks, which keep what was used before (fresh memory costs as much as receiving into it), and charges
// it to the ReadCredit of its reader, which bounds what one partition may have in memory.
//
// Made by the thread that fetches; released by any thread.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace millrace {

// What one reader may still read ahead. A reader that holds nothing may always read, whatever its bound is.
class ReadCredit {
 public:
  // `wake` is called by any thread.
  ReadCredit(size_t most_bytes, std::function<void()> wake) : most_bytes_(most_bytes), wake_(std::move(wake)) {}

  [[nodiscard]] size_t left() const;

  // Whether there is credit for `bytes`, or all of it. If not: `wake` is called when some has come back.
  bool has(size_t bytes);

  void take(size_t bytes) { taken_ += bytes; }
  void give_back(size_t bytes);

 private:
  [[nodiscard]] bool is_there(size_t bytes) const { return left() >= bytes || taken_ == 0; }

  const size_t most_bytes_;
  const std::function<void()> wake_;
  std::atomic<size_t> taken_{0};
  std::atomic<bool> wanted_{false};
};

// Blocks of memory of some sizes, used again and again.
class FetchBlocks {
 public:
  static constexpr size_t kSmallest = 256 << 10;  // what is smaller is no block, and made anew
  static constexpr size_t kLargest = 4 << 20;     // what is larger, too

  // Kept for the next ones are at most `most_idle_bytes`: about what comes back at once when a batch is done.
  explicit FetchBlocks(size_t most_idle_bytes = 64 << 20) : most_idle_bytes_(most_idle_bytes) {}

  using Block = std::unique_ptr<char[]>;

  // At least `bytes`.
  Block take(size_t bytes);
  // What take(bytes) gave.
  void give_back(Block block, size_t bytes);

  [[nodiscard]] size_t idle_bytes();
  void drop_idle();

 private:
  static constexpr size_t kSizes = 5;  // powers of two from kSmallest to kLargest
  static_assert(kSmallest << (kSizes - 1) == kLargest);
  using Idle = std::array<std::vector<Block>, kSizes>;

  const size_t most_idle_bytes_;
  std::mutex mutex_;
  Idle idle_;              // guarded by mutex_
  size_t idle_bytes_ = 0;  // guarded by mutex_
};

class FetchBuffer {
 public:
  FetchBuffer(std::shared_ptr<FetchBlocks> blocks, std::shared_ptr<ReadCredit> credit, size_t bytes);
  ~FetchBuffer();
  FetchBuffer(const FetchBuffer&) = delete;
  FetchBuffer& operator=(const FetchBuffer&) = delete;

  // Not to be written to once others can see them.
  [[nodiscard]] std::span<char> bytes() const { return {block_.get(), size_}; }

 private:
  const std::shared_ptr<FetchBlocks> blocks_;
  const std::shared_ptr<ReadCredit> credit_;
  const size_t size_;
  FetchBlocks::Block block_;
};

}  // namespace millrace
