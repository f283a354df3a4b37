#include "adapters/kafka_stream.h"

#include <algorithm>

#include "common/base/check.h"

namespace millrace {
namespace {

constexpr size_t kMessagesAtOnce = 10'000;
constexpr size_t kMostRecordOverhead = 40;  // the varints of a record

size_t packed_size(const rd_kafka_message_t& message) {
  return message.len + message.key_len + kMostRecordOverhead;
}

std::optional<std::string_view> field(const void* bytes, size_t size) {
  if (bytes == nullptr) return std::nullopt;
  return std::string_view(static_cast<const char*>(bytes), size);
}

}  // namespace

KafkaStream::KafkaStream(KafkaHandle& handle, const KafkaOptions& kafka, const LogReaderOptions& options)
    : handle_(handle),
      kafka_(kafka),
      partition_(options.partition),
      until_(options.until),
      next_(options.from),
      messages_(kMessagesAtOnce) {}

Result<std::unique_ptr<KafkaStream>> KafkaStream::start(KafkaHandle& handle, const KafkaOptions& kafka,
                                                        const LogReaderOptions& options) {
  auto queue = handle.start(options.partition, options.from);
  if (!queue) return std::unexpected(queue.error());
  std::unique_ptr<KafkaStream> stream(new KafkaStream(handle, kafka, options));
  stream->queue_ = std::move(*queue);
  return stream;
}

KafkaStream::~KafkaStream() {
  handle_.stop(partition_);
  drop_until(count_);
  rd_kafka_queue_cb_event_enable(queue_.get(), nullptr, nullptr);
}

bool KafkaStream::fill() {
  if (first_ < count_) return true;
  first_ = 0;
  const ssize_t got = rd_kafka_consume_batch_queue(queue_.get(), 0, messages_.data(), messages_.size());
  count_ = static_cast<size_t>(std::max<ssize_t>(got, 0));
  if (count_ > 0) handle_.heard();
  return count_ > 0;
}

void KafkaStream::drop_until(size_t index) {
  for (; first_ < index; ++first_) rd_kafka_message_destroy(messages_[first_]);
}

KafkaStream::Step KafkaStream::next(size_t wanted_bytes, size_t most_bytes) {
  while (!finished() && fill()) {
    const rd_kafka_message_t& head = *messages_[first_];
    if (head.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      Step step = interpret_error(head);
      drop_until(first_ + 1);
      if (!std::holds_alternative<Nothing>(step)) return step;
      continue;
    }
    if (head.offset < next_.value()) {
      drop_until(first_ + 1);
      continue;
    }
    if (until_ && head.offset >= until_->value()) return pass_over(*until_);
    size_t bytes = RecordBatchView::kHeaderBytes;
    size_t end = first_;
    for (; end < count_; ++end) {
      const rd_kafka_message_t& message = *messages_[end];
      const size_t size = packed_size(message);
      if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR || (until_ && message.offset >= until_->value())) break;
      if (bytes + size > (end == first_ ? most_bytes : std::min(wanted_bytes, most_bytes))) break;
      if (message.offset - head.offset > INT32_MAX) break;
      bytes += size;
    }
    if (end == first_) return Nothing{};  // more than fits
    return pack(end - first_, bytes);
  }
  return Nothing{};
}

KafkaStream::Piece KafkaStream::pack(size_t count, size_t bytes) {
  builder_.set_capacity(bytes);
  int64_t offset = 0;
  for (size_t index = first_; index < first_ + count; ++index) {
    const rd_kafka_message_t& message = *messages_[index];
    offset = message.offset;
    const int64_t timestamp_ms = rd_kafka_message_timestamp(&message, nullptr);  // -1: none
    builder_.add(Offset(offset), timestamp_ms, field(message.key, message.key_len),
                 field(message.payload, message.len));
  }
  drop_until(first_ + count);
  Piece piece{
      builder_.finish(RecordBatchBuilder::Checksum::kNone), {next_, Offset(offset + 1)}, static_cast<int64_t>(count)};
  // The record at the end is behind a gap: the range ends as it was asked for.
  if (until_ && first_ < count_ && messages_[first_]->err == RD_KAFKA_RESP_ERR_NO_ERROR &&
      messages_[first_]->offset >= until_->value()) {
    piece.range.to = *until_;
  }
  next_ = piece.range.to;
  return piece;
}

// Offsets up to `to` hold no record for us: aborted, compacted, or marks of transactions.
KafkaStream::Step KafkaStream::pass_over(Offset to) {
  if (to <= next_) return Nothing{};
  Piece piece{"", {next_, to}, 0};
  next_ = to;
  return piece;
}

KafkaStream::Step KafkaStream::interpret_error(const rd_kafka_message_t& message) {
  if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    const Offset end(message.offset);
    return pass_over(until_ ? std::min(end, *until_) : end);
  }
  Error error = kafka_error(kafka_,
                            "cannot read partition " + std::to_string(partition_.value()) + " from offset " +
                                std::to_string(next_.value()) + " of",
                            message.err);
  if (message.err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || message.err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
    error.message += ": the broker has records from a later one on, or none so late";
  }
  if (error.code == ErrorCode::kTimeout) error.code = ErrorCode::kUnavailable;
  if (error.code == ErrorCode::kNotFound) error.code = ErrorCode::kDataLost;  // it was there when the job began
  return error;
}

}  // namespace millrace
