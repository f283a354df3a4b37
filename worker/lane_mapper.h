// LaneMapper: the log partitions of one lane: reads ahead, maps the ranges of plans and of replays, and keeps the
// blocks for later replays.
//
// A range is mapped from the read-ahead where it is still there, else by a second reader that ends with the range.
// One step maps at most one chunk, so that the lane can do other work in between; among the log partitions that have
// bytes the oldest batch goes first. A range waits for its own bytes only.
// Lives on the lane's loop.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "stream/job.h"
#include "worker/block_store.h"
#include "worker/lane_activity.h"
#include "worker/lane_messages.h"
#include "worker/partition_reader.h"

namespace millrace {

class LaneMapper {
 public:
  struct Deps {
    size_t lane = 0;
    const Clock& clock;          // outlives this
    const Job& job;              // outlives this
    LaneHandler& handler;        // outlives this
    LaneActivity& activity;      // outlives this
    std::function<void()> wake;  // there may be something to do: call step() soon
    int32_t state_partitions = 0;
    size_t memory_bytes = 0;  // bound of all read-ahead, and of the kept blocks
  };

  LaneMapper(Deps deps, std::unique_ptr<Log> log);

  [[nodiscard]] Log& log() { return *log_; }

  void assign(const LaneAssignment& assignment);
  // Queues a range of a plan, or of a replay.
  void map(MapRequest request);
  void forget_kept(BatchId checkpointed) { kept_.forget_through(checkpointed); }
  [[nodiscard]] size_t read_ahead_bytes() const;
  [[nodiscard]] size_t kept_bytes() const { return kept_.bytes(); }

  // Does a piece of work. False: there is none to do now.
  bool step();

 private:
  struct Current {
    MapRequest request;
    PartitionReader* reader = nullptr;  // ahead or again of the same source
    MapReport report;
    std::unique_ptr<MapTask> task;
    RangeTimes times;
  };
  struct Source {
    bool owned = false;
    std::unique_ptr<PartitionReader> ahead;  // if owned
    std::unique_ptr<PartitionReader> again;  // for ranges that are no longer, or were never, in `ahead`
    std::deque<MapRequest> queue;            // ascending by batch
    std::optional<Current> current;
  };

  void assign_source(LogPartition partition, const LaneAssignment::LogShare* share, bool restart, size_t read_ahead);
  void forget_beyond(BatchId durable);
  void enqueue(Source& source, MapRequest request);
  [[nodiscard]] bool can_step(const Source& source) const;
  void begin(LogPartition partition, Source& source);
  PartitionReader* reader_for(LogPartition partition, Source& source, const MapRequest& request);
  void map_piece(LogPartition partition, Source& source);
  void finish(Source& source, MonotonicTime resumed);
  void drop_current(Source& source);
  void emit(const MapRequest& request, const BlockStore::Kept& kept, const std::optional<RangeTimes>& times);
  [[nodiscard]] PartitionReader::Events events(LogPartition partition, bool reports);
  [[nodiscard]] std::unique_ptr<MapTask> take_task();

  // Constant after construction.
  const Deps deps_;
  const std::unique_ptr<Log> log_;

  // Owned by the loop.
  Stamp stamp_;
  BlockStore kept_;
  std::vector<std::unique_ptr<MapTask>> idle_tasks_;
  size_t read_ahead_ = 0;  // of one reader
  std::map<LogPartition, Source> sources_;
};

}  // namespace millrace
