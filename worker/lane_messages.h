// What an Executor and its Lanes say to each other: plain data, posted from loop to loop.
//
// Each answer of a lane carries the Stamp of the newest assignment that the lane had seen, so that the executor can
// drop what belongs to an assignment that is over.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/time.h"
#include "common/model/shuffle_block.h"
#include "common/seams/checkpoint_store.h"
#include "common/seams/log.h"
#include "common/seams/sink.h"
#include "stream/job.h"
#include "wire_types.h"

namespace millrace {

// Which assignment somebody follows; the order is age.
struct Stamp {
  Epoch epoch;
  Generation generation;
  auto operator<=>(const Stamp&) const = default;
};

// --- executor -> lane --------------------------------------------------------------------------------------------

struct BatchPlan {
  struct Range {
    LogPartition partition;
    OffsetRange range;
    int64_t records = 0;
    ProcessId mapper;
  };
  BatchId batch;
  int64_t time_ms = 0;
  bool tick = false;
  int64_t watermark_ms = 0;
  MapTimes times;             // of its maps
  std::vector<Range> ranges;  // ascending by partition
  bool checkpoint = false;
  bool publish = false;
  bool keep_changes = false;
  bool rank = false;
  bool replay = false;     // only for partitions that are being restored: nothing is mapped because of it
  MonotonicTime received;  // by the executor
};
using PlanPointer = std::shared_ptr<const BatchPlan>;

// A state partition in the hands of one owner.
struct OwnedState {
  StatePartition partition;
  Generation generation;
  auto operator<=>(const OwnedState&) const = default;
};

struct LaneAssignment {
  struct LogShare {
    LogPartition partition;
    Offset read_from;  // the first offset that no plan holds
  };
  Stamp stamp;
  bool new_epoch = false;  // plans, blocks and results beyond `durable` are void
  BatchId durable;
  BatchId applied;
  BatchId published;
  BatchId checkpoint;  // what partitions new to this owner are restored to
  int64_t checkpoint_tick_ms = 0;
  // What the code kept that wrote the checkpoint, where that is of another version; null: it is not.
  std::shared_ptr<const std::vector<StatePlan>> former_states;
  std::vector<LogShare> logs;
  std::vector<OwnedState> states;
};

struct Watermarks {
  BatchId durable;
  BatchId applied;
  BatchId checkpointed;
  BatchId published;
};

// A range to map, or to answer from the kept blocks.
struct MapRequest {
  BatchId batch;
  LogPartition partition;
  OffsetRange range;
  MapTimes times;
  bool replay = false;
  std::vector<StatePartition> only;  // of a replay: who needs the block; none: the result only
  // The plan that it is of, by the executor; none: a replay.
  MonotonicTime received = {};  // NOLINT(readability-redundant-member-init): may be left out
};

// How the publication of a snapshot ended.
enum class PublicationEnd {
  kDone,    // the sink has confirmed it
  kGaveUp,  // the sink may or may not hold it: its keys count as unpublished
  kLost,    // the sink has lost earlier values: all keys count as unpublished
};

// A part of a checkpoint file for the partitions of one lane.
struct RestoreShare {
  uint64_t ticket = 0;
  std::shared_ptr<const StateRun> run;  // may hold partitions of other lanes too
  std::vector<OwnedState> partitions;
  bool unpublished = false;
};

struct LaneQuery {
  struct Key {
    size_t index;  // in the wire query
    StatePartition partition;
    std::string key;
  };
  uint64_t id = 0;
  BatchId at;
  size_t table = 0;  // of the job's plan
  std::vector<Key> keys;
  // Of an index: so many members of the one key, those behind `after`; 0: its value alone.
  size_t members = 0;
  std::optional<IndexMember> after = std::nullopt;
};

// --- lane -> executor --------------------------------------------------------------------------------------------

struct MapOutcome {
  BatchId batch;
  LogPartition partition;
  OffsetRange range;
  MapTimes times;
  MapReport report;
  uint64_t fingerprint = 0;
};

// When a range was mapped; for people, see wire::RangeTimes.
struct RangeTimes {
  size_t lane = 0;
  MonotonicTime received;  // the plan, by the executor
  MonotonicTime begin;
  MonotonicTime end;
  MonotonicTime fetched;
  Duration busy{};
  Duration waited{};
  int64_t newest_ms = 0;
};

struct MappedRange {
  std::shared_ptr<const MapOutcome> outcome;
  // A section for each state partition of the job, empty where it got no pair. Null: the result only.
  std::shared_ptr<const ShuffleBlock> block;
  std::optional<std::vector<StatePartition>> only;  // send to the owners of these; none: to all
  std::optional<RangeTimes> times;                  // none: it is a replay, or was mapped before
};

// When a lane reduced a batch; for people, see wire::LaneTimes.
struct ReduceTimes {
  BatchId batch;
  MonotonicTime received;  // the plan, by the executor
  std::optional<MonotonicTime> arrived;
  std::optional<MonotonicTime> begin;
  MonotonicTime end;
  Duration busy{};
};

struct LaneApplied {
  struct Partition {
    OwnedState state;
    BatchId applied;
    BatchId begun;  // `applied`, or the batch after it of which it has applied the first level; beyond all: it is void
  };
  size_t lane = 0;
  std::vector<Partition> partitions;
  int64_t keys = 0;          // of all partitions of the lane
  int64_t memory_bytes = 0;  // of all partitions of the lane
  BatchId changed;           // newest batch that changed anything
  std::vector<ReduceTimes> times;
};

using LevelBlocks = std::vector<std::shared_ptr<const LevelBlock>>;

// What a batch of a partition appends to the job's outputs.
struct AppendShare {
  struct Records {
    size_t output;  // of the job's plan
    int64_t count;
    std::shared_ptr<const std::string> bytes;
    BatchId previous;
  };
  OwnedState state;
  BatchId batch;
  int64_t time_ms = 0;
  std::vector<Records> records;
};

// The unpublished keys of a partition for the sink, as of the batch of a publication round.
struct Snapshot {
  OwnedState state;
  BatchId batch;
  bool full = false;
  bool keep_changes = false;  // the master wants them, too
  std::vector<SinkEntry> entries;
};

struct RankShare {
  BatchId batch;
  std::vector<StatePartition> partitions;  // covered by the entries
  std::vector<SinkEntry> entries;          // highest first
  size_t table = 0;                        // of the job's plan
};

struct FrozenShare {
  BatchId batch;
  std::vector<OwnedState> partitions;
  StateRun run;  // in no order
  size_t lane = 0;
  Duration busy{};     // of the lane, to copy it
  Duration longest{};  // without doing anything else
};

struct LaneAnswer {
  uint64_t id = 0;
  std::vector<std::pair<size_t, std::optional<std::string>>> values;  // by index in the wire query
  std::string problem;
  std::vector<IndexMember> members;  // of an index, those asked for
};

// Implemented by the executor; called from the lane's loop on an object that posts to the executor's.
class LaneHandler {
 public:
  virtual ~LaneHandler() = default;
  // The lane's log is open (or cannot be); the description is asked for by lane 0 only.
  virtual void on_opened(size_t lane, Result<std::optional<LogDescription>> log) = 0;
  virtual void on_fetched(Stamp stamp, wire::FetchedPartition fetched) = 0;
  virtual void on_mapped(Stamp stamp, MappedRange mapped) = 0;
  virtual void on_applied(Stamp stamp, LaneApplied applied) = 0;
  // For all state partitions of the job.
  virtual void on_emitted(Stamp stamp, LevelBlocks blocks) = 0;
  // Before the share of a checkpoint of its batch. Of no assignment: what counts is who owns the partition.
  virtual void on_appended(AppendShare share) = 0;
  virtual void on_snapshot(Stamp stamp, Snapshot snapshot) = 0;
  virtual void on_rank(Stamp stamp, RankShare share) = 0;
  virtual void on_frozen(Stamp stamp, FrozenShare share) = 0;
  virtual void on_restored(uint64_t ticket) = 0;
  virtual void on_answer(LaneAnswer answer) = 0;
  // Trouble with reading a log partition; none: it is over. kUnavailable mends itself, anything else is final.
  virtual void on_log_trouble(LogPartition partition, std::optional<Error> error) = 0;
  // The job cannot go on: what, where, remedy.
  virtual void on_failed(Error error) = 0;
};

}  // namespace millrace
