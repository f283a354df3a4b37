#include "adapters/fetch_buffer.h"

#include <bit>
#include <utility>

namespace millrace {
namespace {

// Which of FetchBlocks' sizes holds so many bytes; of those that are no blocks: nothing sensible.
size_t size_index(size_t bytes) {
  return static_cast<size_t>(std::countr_zero(std::bit_ceil(bytes)) - std::countr_zero(FetchBlocks::kSmallest));
}

bool is_block(size_t bytes) {
  return bytes >= FetchBlocks::kSmallest && bytes <= FetchBlocks::kLargest;
}

}  // namespace

size_t ReadCredit::left() const {
  const size_t taken = taken_;
  return taken < most_bytes_ ? most_bytes_ - taken : 0;
}

bool ReadCredit::has(size_t bytes) {
  if (is_there(bytes)) return true;
  wanted_ = true;
  return is_there(bytes);  // It may have come back in between, when nobody was to be woken yet.
}

void ReadCredit::give_back(size_t bytes) {
  taken_ -= bytes;
  if (wanted_.exchange(false)) wake_();
}

FetchBlocks::Block FetchBlocks::take(size_t bytes) {
  if (!is_block(bytes)) return std::make_unique_for_overwrite<char[]>(bytes);
  {
    const std::scoped_lock lock(mutex_);
    std::vector<Block>& idle = idle_[size_index(bytes)];
    if (!idle.empty()) {
      Block block = std::move(idle.back());
      idle.pop_back();
      idle_bytes_ -= std::bit_ceil(bytes);
      return block;
    }
  }
  return std::make_unique_for_overwrite<char[]>(std::bit_ceil(bytes));
}

void FetchBlocks::give_back(Block block, size_t bytes) {
  if (!is_block(bytes)) return;
  const std::scoped_lock lock(mutex_);
  if (idle_bytes_ + std::bit_ceil(bytes) > most_idle_bytes_) return;
  idle_[size_index(bytes)].push_back(std::move(block));
  idle_bytes_ += std::bit_ceil(bytes);
}

size_t FetchBlocks::idle_bytes() {
  const std::scoped_lock lock(mutex_);
  return idle_bytes_;
}

void FetchBlocks::drop_idle() {
  Idle dropped;  // They are freed when nobody waits for the mutex.
  const std::scoped_lock lock(mutex_);
  dropped.swap(idle_);
  idle_bytes_ = 0;
}

FetchBuffer::FetchBuffer(std::shared_ptr<FetchBlocks> blocks, std::shared_ptr<ReadCredit> credit, size_t bytes)
    : blocks_(std::move(blocks)), credit_(std::move(credit)), size_(bytes), block_(blocks_->take(bytes)) {
  credit_->take(size_);
}

FetchBuffer::~FetchBuffer() {
  blocks_->give_back(std::move(block_), size_);
  credit_->give_back(size_);
}

}  // namespace millrace
