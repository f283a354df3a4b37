#include "adapters/fetch_answer.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace millrace {
namespace {

constexpr size_t kUsualHead = 512;  // a head of 90 bytes, and not too much of the records, which have to be copied
constexpr size_t kSizeBytes = sizeof(int32_t);

std::string_view view_of(std::span<const char> bytes) {
  return {bytes.data(), bytes.size()};
}

}  // namespace

FetchAnswer::FetchAnswer(const FetchQuestion& question, int32_t correlation, size_t most_bytes,
                         std::shared_ptr<FetchBlocks> blocks, std::shared_ptr<ReadCredit> credit)
    : question_(question),
      correlation_(correlation),
      most_bytes_(most_bytes),
      blocks_(std::move(blocks)),
      credit_(std::move(credit)),
      scratch_(kUsualHead, 0) {}

std::span<char> FetchAnswer::room() {
  const std::span<char> all = buffer_ == nullptr ? std::span(scratch_) : buffer_->bytes();
  return all.subspan(received_);
}

FetchAnswer::State FetchAnswer::arrived(size_t bytes) {
  CHECK(state_ == State::kMore && bytes <= room().size());
  received_ += bytes;
  state_ = buffer_ == nullptr ? read_head() : read_body();
  return state_;
}

FetchAnswer::State FetchAnswer::read_head() {
  if (received_ < kSizeBytes) return State::kMore;
  const auto frame_bytes = frame_size(scratch_, most_bytes_);
  if (!frame_bytes) return State::kBroken;
  const auto frame = std::span<const char>(scratch_).first(received_).subspan(kSizeBytes);
  if (frame.size() > *frame_bytes) return State::kBroken;
  auto head = parse_fetch_head(view_of(frame), *frame_bytes, question_, correlation_);
  if (!head) {
    if (received_ == scratch_.size()) scratch_.resize(2 * scratch_.size());
    return head.error() == NoFetchHead::kMore ? State::kMore : State::kBroken;
  }
  head_ = std::move(*head);
  buffer_ = std::make_shared<FetchBuffer>(blocks_, credit_, *frame_bytes - head_.records_at);
  return begin_body(frame.subspan(head_.records_at));
}

FetchAnswer::State FetchAnswer::begin_body(std::span<const char> already_there) {
  walk_.emplace(question_.from, question_.last_epoch, question_.committed, std::move(head_.aborted));
  std::ranges::copy(already_there, buffer_->bytes().begin());
  received_ = already_there.size();
  return read_body();
}

FetchAnswer::State FetchAnswer::read_body() {
  const std::span<char> all = buffer_->bytes();
  (void)walk_->advance(all.first(std::min(received_, head_.records_bytes)));
  if (received_ < all.size()) return State::kMore;
  const auto tail = parse_fetch_tail(view_of(all.subspan(head_.records_bytes)), head_);
  if (!tail) return State::kBroken;
  tail_ = *tail;
  return State::kWhole;
}

}  // namespace millrace
