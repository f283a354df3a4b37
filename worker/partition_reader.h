// PartitionReader: what has been read of one log partition and is not yet mapped, as a queue of chunks. Taking the
// bytes of a range releases the chunks before it, which gives their read-ahead credit back.
//
// It also counts what was fetched since it began, for the reports that the cutter works from: each end of a chunk is a
// boundary at which a batch may be cut. Lives on the lane's loop.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "common/seams/clock.h"
#include "common/seams/log.h"
#include "worker/lane_messages.h"

namespace millrace {

class PartitionReader : public LogReaderHandler {
 public:
  // Called on the loop, `arrived` after the chunk is in the queue.
  struct Events {
    std::function<void(const wire::FetchedPartition& boundary)> arrived;
    std::function<void(std::optional<Error> error)> trouble;  // none: it is over
  };
  struct Piece {
    OffsetRange range;
    SharedBuffer bytes;
    MonotonicTime arrived;
    Duration waited{};  // before, with nothing in the queue although the log had something; 0: the chunk was told of
  };

  PartitionReader(Log& log, const Clock& clock, const LogReaderOptions& options, Events events);
  ~PartitionReader() override;
  PartitionReader(const PartitionReader&) = delete;
  PartitionReader& operator=(const PartitionReader&) = delete;

  // The next offset that take() hands out.
  [[nodiscard]] Offset position() const { return position_; }
  [[nodiscard]] std::optional<Offset> until() const { return options_.until; }

  // Nothing before `offset` will be taken.
  void skip_to(Offset offset);
  [[nodiscard]] bool has_data() const { return !chunks_.empty(); }
  // Of all chunks that are held.
  [[nodiscard]] size_t held_bytes() const { return held_bytes_; }
  // The next bytes of [position, to), as far as one chunk goes; none: not read yet.
  std::optional<Piece> take(Offset to);

 private:
  void on_chunk(LogChunk chunk) override;
  void on_log_error(LogPartition partition, const Error& error) override;
  void on_log_back(LogPartition partition) override;

  struct Held {
    LogChunk chunk;
    MonotonicTime arrived;
    Duration waited;
  };
  [[nodiscard]] Duration waited_for(const LogChunk& chunk, MonotonicTime now) const;

  // Constant after construction.
  const Clock& clock_;  // outlives this
  const LogReaderOptions options_;
  const Events events_;

  // Owned by the loop.
  std::deque<Held> chunks_;
  size_t held_bytes_ = 0;
  MonotonicTime empty_since_;
  Offset position_;
  Offset fetched_to_;
  int64_t records_ = 0;  // since options_.from
  int64_t bytes_ = 0;    // since options_.from
  bool in_trouble_ = false;
  std::unique_ptr<LogReader> reader_;  // last: it may call while it is made, and must end first
};

}  // namespace millrace
