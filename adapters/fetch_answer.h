// FetchAnswer: the answer to one Fetch request while it arrives. Its head is read aside; the records are received
// straight into the buffer from which they are handed on, and verified piece by piece while they are in the processor's
// caches. Knows no socket: whoever has one receives into room() and says how much came. Belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "adapters/fetch_buffer.h"
#include "adapters/kafka_batches.h"
#include "adapters/kafka_messages.h"

namespace millrace {

class FetchAnswer {
 public:
  enum class State {
    kMore,    // receive into room()
    kWhole,   // the next bytes of the connection are of another answer
    kBroken,  // this is no answer to the question: the connection is of no use any more
  };

  // Of a frame larger than `most_bytes` nothing is believed.
  FetchAnswer(const FetchQuestion& question, int32_t correlation, size_t most_bytes,
              std::shared_ptr<FetchBlocks> blocks, std::shared_ptr<ReadCredit> credit);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] std::span<char> room();
  State arrived(size_t bytes);

  // Once it is whole. If the walk is not good, it has stopped somewhere in the records.
  [[nodiscard]] const FetchHead& head() const { return head_; }
  [[nodiscard]] const FetchTail& tail() const { return tail_; }
  [[nodiscard]] const BatchWalk& walk() const { return *walk_; }
  [[nodiscard]] const std::shared_ptr<FetchBuffer>& buffer() const { return buffer_; }  // keeps what the walk found

 private:
  State read_head();
  State begin_body(std::span<const char> already_there);
  State read_body();

  // Constant.
  const FetchQuestion question_;
  const int32_t correlation_;
  const size_t most_bytes_;
  const std::shared_ptr<FetchBlocks> blocks_;
  const std::shared_ptr<ReadCredit> credit_;

  State state_ = State::kMore;
  size_t received_ = 0;  // of the frame's size and the head; then of the buffer
  std::string scratch_;  // the frame's size and its head
  FetchHead head_;
  std::optional<BatchWalk> walk_;
  std::shared_ptr<FetchBuffer> buffer_;  // records and tail; null: the head has not come yet
  FetchTail tail_;
};

}  // namespace millrace
