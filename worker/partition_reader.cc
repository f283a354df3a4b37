#include "worker/partition_reader.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/model/record_batch.h"

namespace millrace {

PartitionReader::PartitionReader(Log& log, const Clock& clock, const LogReaderOptions& options, Events events)
    : clock_(clock),
      options_(options),
      events_(std::move(events)),
      empty_since_(clock.now()),
      position_(options.from),
      fetched_to_(options.from) {
  reader_ = log.open(options_, this);
}

PartitionReader::~PartitionReader() {
  if (in_trouble_) events_.trouble(std::nullopt);
}

void PartitionReader::on_chunk(LogChunk chunk) {
  CHECK(chunk.range.from == fetched_to_) << "log partition " << options_.partition << ": a chunk from "
                                         << chunk.range.from << " after " << fetched_to_;
  on_log_back(options_.partition);
  fetched_to_ = chunk.range.to;
  records_ += chunk.records;
  bytes_ += static_cast<int64_t>(chunk.bytes.size());
  if (fetched_to_ > position_) {
    const MonotonicTime now = clock_.now();
    const Duration waited = waited_for(chunk, now);
    held_bytes_ += chunk.bytes.size();
    chunks_.push_back({std::move(chunk), now, waited});
  }

  wire::FetchedPartition boundary;
  boundary.partition = options_.partition.value();
  boundary.reader_from = options_.from.value();
  boundary.to_offset = fetched_to_.value();
  boundary.records = records_;
  boundary.bytes = bytes_;
  events_.arrived(boundary);
}

// What is to be read again is there already; of anything else the log has had the first record batch since its time
// stamp, as far as whoever wrote that has the right time.
Duration PartitionReader::waited_for(const LogChunk& chunk, MonotonicTime now) const {
  if (!chunks_.empty()) return {};
  const Duration empty = now - empty_since_;
  if (options_.until) return empty;
  RecordBatchView first;
  if (!RecordBatchCursor(chunk.bytes.view()).next(first) || first.max_timestamp_ms() <= 0) return {};
  const int64_t there_ms = clock_.wall_now().unix_ms - first.max_timestamp_ms();
  return std::clamp<Duration>(std::chrono::milliseconds(std::clamp<int64_t>(there_ms, 0, to_ms(empty) + 1)), {}, empty);
}

void PartitionReader::on_log_error(LogPartition, const Error& error) {
  in_trouble_ = error.code == ErrorCode::kUnavailable;  // anything else does not pass
  events_.trouble(error);
}

void PartitionReader::on_log_back(LogPartition) {
  if (!std::exchange(in_trouble_, false)) return;
  events_.trouble(std::nullopt);
}

void PartitionReader::skip_to(Offset offset) {
  position_ = std::max(position_, offset);
  if (chunks_.empty()) return;
  while (!chunks_.empty() && chunks_.front().chunk.range.to <= position_) {
    held_bytes_ -= chunks_.front().chunk.bytes.size();
    chunks_.pop_front();
  }
  if (chunks_.empty()) empty_since_ = clock_.now();
}

std::optional<PartitionReader::Piece> PartitionReader::take(Offset to) {
  if (chunks_.empty() || position_ >= to) return std::nullopt;
  Held& held = chunks_.front();
  Piece piece{
      {position_, std::min(held.chunk.range.to, to)}, held.chunk.bytes, held.arrived, std::exchange(held.waited, {})};
  skip_to(piece.range.to);
  return piece;
}

}  // namespace millrace
