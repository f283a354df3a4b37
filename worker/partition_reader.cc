#include "worker/partition_reader.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace millrace {

PartitionReader::PartitionReader(Log& log, const LogReaderOptions& options, Events events)
    : options_(options), events_(std::move(events)), position_(options.from), fetched_to_(options.from) {
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
  if (fetched_to_ > position_) chunks_.push_back(std::move(chunk));

  wire::FetchedPartition boundary;
  boundary.partition = options_.partition.value();
  boundary.reader_from = options_.from.value();
  boundary.to_offset = fetched_to_.value();
  boundary.records = records_;
  boundary.bytes = bytes_;
  events_.arrived(boundary);
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
  while (!chunks_.empty() && chunks_.front().range.to <= position_) chunks_.pop_front();
}

std::optional<PartitionReader::Piece> PartitionReader::take(Offset to) {
  if (chunks_.empty() || position_ >= to) return std::nullopt;
  const LogChunk& chunk = chunks_.front();
  Piece piece{{position_, std::min(chunk.range.to, to)}, chunk.bytes};
  skip_to(piece.range.to);
  return piece;
}

}  // namespace millrace
