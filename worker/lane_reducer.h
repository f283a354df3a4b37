// LaneReducer: the state partitions of one lane: merges blocks into tables batch by batch, and takes from the tables
// what others need as of exactly one batch: snapshots for the sink, rank candidates, checkpoint increments, answers.
//
// A partition applies batch b when it has applied b-1, the plan of b is here, b is durable, and the blocks of all
// ranges of the plan are here; where the job has levels, one after the other, each when all partitions have emitted
// what it is made of. Lives on the lane's loop.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "common/seams/clock.h"
#include "stream/job.h"
#include "worker/lane_activity.h"
#include "worker/lane_messages.h"
#include "worker/level_inbox.h"
#include "worker/rank_gather.h"
#include "worker/reduce_queue.h"

namespace millrace {

class LaneReducer {
 public:
  static constexpr size_t kMaxWaitingQueries = 1000;
  // Of what a partition has given to outputs and they have not taken yet: with so much it takes no further batch.
  static constexpr size_t kMaxBatchesToAppend = 8;
  static constexpr size_t kMaxBytesToAppend = size_t{32} << 20;

  struct Deps {
    size_t lane = 0;
    const Clock& clock;          // outlives this
    const Job& job;              // outlives this
    LaneHandler& handler;        // outlives this
    LaneActivity& activity;      // outlives this
    std::function<void()> wake;  // there may be something to do: call step() soon
    int32_t state_partitions = 0;
    size_t freeze_keys_per_step = 0;
  };

  explicit LaneReducer(Deps deps)
      : deps_(std::move(deps)),
        levels_(deps_.job.levels()),
        tables_(deps_.job.tables()),
        ranks_(tables_.size()),
        rank_floors_(tables_.size()),
        inbox_(levels_, deps_.state_partitions) {}

  void assign(const LaneAssignment& assignment);
  void run(PlanPointer plan);
  void progress(const Watermarks& watermarks);
  // Takes the sections of partitions that this lane owns.
  void add_block(const ShuffleBlock& block);
  void add_levels(const LevelBlocks& blocks);

  // Sets keys from a checkpoint file, piece by piece; on_restored() follows.
  void restore(RestoreShare share);
  // All files have been restored: the partitions go on from `batch`.
  void finish_restore(const std::vector<OwnedState>& partitions, BatchId batch);

  void abandon_checkpoint(BatchId batch);
  // What became of the snapshot of a round: the sink holds it, or not, or it has lost what was there before.
  void settle_publication(OwnedState state, BatchId round, PublicationEnd end);
  // The outputs have taken what the batch has brought.
  void settle_appended(OwnedState state, BatchId batch);
  void query(LaneQuery query);
  void cancel_query(uint64_t id);

  // Does a piece of work. False: there is none to do now.
  bool step();

 private:
  using Kind = LaneActivity::Kind;
  struct Slot {
    Generation generation;
    std::unique_ptr<StateTable> table;
    ReduceQueue queue;
    BatchId applied;                 // through all its levels
    int32_t level = 0;               // of the next batch, that it has applied; 0: it has not begun it
    PlanPointer plan;                // of the batch that it has begun
    bool changed = false;            // by a level of it
    int64_t checkpoint_tick_ms = 0;  // of what it is restored from
    bool restoring = true;
    bool is_void = false;         // it has begun a batch that never was: the master has it loaded again
    bool publish_all = false;     // what the sink holds of it is unknown
    BatchId publishing;           // round of the open publication, 0: none
    bool publishing_all = false;  // the open publication is full
    BatchId frozen_at;            // of the open freeze, 0: none
    std::deque<std::pair<BatchId, size_t>> appending;  // what outputs have not taken yet: batch and bytes
    size_t bytes_to_append = 0;
  };
  struct Restoring {
    RestoreShare share;
    size_t next = 0;  // entry of the run
  };
  struct Ended {  // is at the end of this batch
    StatePartition partition;
    Slot* slot = nullptr;
    BatchId batch;
  };
  // The share of one checkpoint until all partitions of the lane have frozen.
  struct OpenCheckpoint {
    FrozenShare share;
    std::deque<StatePartition> unread;  // whose tables have more to add
  };

  void assign_slots(const LaneAssignment& assignment);
  void enter_epoch(BatchId durable);
  bool restore_some();
  bool apply_next(StatePartition partition, Slot& slot);
  std::optional<std::vector<SharedBuffer>> take_input(StatePartition partition, Slot& slot);
  void emit(StatePartition partition, Slot& slot);
  void end_batches();
  PlanPointer end_batch(StatePartition partition, Slot& slot);
  static LaneApplied::Partition progress_of(StatePartition partition, const Slot& slot);
  void append(StatePartition partition, Slot& slot, const BatchPlan& plan);
  [[nodiscard]] static bool outputs_are_behind(const Slot& slot);
  void publish(StatePartition partition, Slot& slot, const BatchPlan& plan);
  void freeze(const std::vector<Ended>& ended);
  bool freeze_more();
  void note_freeze(MonotonicTime begun);
  void settle(BatchId up_to, bool complete);
  void share_ranks(const std::vector<Ended>& ended);
  bool share_rank_above_floor(size_t number, const std::vector<Ended>& all);
  std::vector<SinkEntry> highest_of(size_t number, const Ended& of, std::optional<double> floor);
  void share_rank(RankShare share);
  void note_times();
  void report_applied();
  void forget_plans();
  void forget_levels();
  void answer_waiting();
  // True if it was answered (or refused).
  bool try_answer(const LaneQuery& query);
  [[nodiscard]] Slot* find_slot(const OwnedState& state);

  // Constant after construction.
  const Deps deps_;
  const int32_t levels_;
  const std::vector<TablePlan> tables_;  // that the job publishes

  // Owned by the loop.
  Stamp stamp_;
  Watermarks watermarks_;
  std::map<StatePartition, Slot> slots_;
  std::set<StatePartition> owned_;  // the keys of slots_
  std::map<BatchId, PlanPointer> plans_;
  std::deque<Restoring> restores_;
  std::vector<RankGather> ranks_;                   // by table
  std::vector<std::optional<double>> rank_floors_;  // the last one's score in the newest rank
  std::optional<OpenCheckpoint> checkpoint_;
  BatchId newest_plan_;
  BatchId flags_void_through_;  // plans up to here were made for owners of before
  BatchId abandoned_;           // checkpoints up to here are not taken
  LevelInbox inbox_;
  LevelBlocks emitted_;                // in this step
  std::vector<StatePartition> ended_;  // that have applied the last level of their batch in this step
  std::vector<LaneApplied::Partition> newly_applied_;
  std::map<BatchId, ReduceTimes> times_;  // of batches that some partition has not applied
  std::set<BatchId> working_on_;          // in this step, but for replays
  MonotonicTime working_since_;
  std::vector<ReduceTimes> done_times_;
  BatchId newest_changed_;  // newest batch that changed anything
  std::deque<LaneQuery> waiting_;
};

}  // namespace millrace
