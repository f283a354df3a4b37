// Lane: one loop of an executor that owns log partitions and state partitions and shares nothing. It reads and maps
// the ranges of its log partitions (LaneMapper) and reduces into its state partitions (LaneReducer).
//
// The executor posts calls to the lane's loop; the lane answers through a LaneHandler. Work is done in small steps
// that post the next one, so that calls never wait behind a whole batch; reduce goes before map, since it frees
// memory that map fills.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/runtime/lifetime.h"
#include "common/seams/clock.h"
#include "common/seams/log.h"
#include "common/seams/task_loop.h"
#include "worker/lane_figures.h"
#include "worker/lane_mapper.h"
#include "worker/lane_reducer.h"

namespace millrace {

class Lane {
 public:
  using MakeLog = std::function<Result<std::unique_ptr<Log>>(const wire::JobSpec&, TaskLoop&)>;
  struct Deps {
    TaskLoop& loop;      // outlives this
    const Clock& clock;  // outlives this
    MakeLog make_log;
    std::shared_ptr<const Job> job;
    std::unique_ptr<LaneHandler> handler;
    std::shared_ptr<LaneActivity> activity;
    std::shared_ptr<LaneFigures> figures;
    size_t freeze_keys_per_step = 0;
  };
  struct Options {
    size_t index = 0;
    wire::JobSpec spec;
  };

  Lane(Options options, Deps deps);
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Opens the log; on_opened() follows. Before anything else.
  void open(bool describe);

  void assign(const LaneAssignment& assignment);
  void run(PlanPointer plan);
  void progress(const Watermarks& watermarks);
  void map(std::vector<MapRequest> requests);
  void add_block(const ShuffleBlock& block) { reducer_.add_block(block); }
  void add_levels(const LevelBlocks& blocks) { reducer_.add_levels(blocks); }
  // The master gave a checkpoint up: the frozen keys count as changed again.
  void abandon_checkpoint(BatchId batch) { reducer_.abandon_checkpoint(batch); }
  LaneReducer& reducer() { return reducer_; }

 private:
  void wake();
  void work();
  void note_figures();

  // Constant after construction.
  const Options options_;
  Deps deps_;

  // Owned by the loop.
  std::unique_ptr<LaneMapper> mapper_;  // once the log is open
  LaneReducer reducer_;
  bool work_posted_ = false;
  Duration busy_{};
  Lifetime lifetime_;
};

}  // namespace millrace
