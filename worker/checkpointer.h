// Checkpointer: makes one file of what the lanes have frozen after one batch, and merges chains of files into bases.
// The reports say what was written; whether the checkpoint is complete is the master's to decide.
// Lives on the executor's loop.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/runtime/lifetime.h"
#include "common/seams/checkpoint_store.h"
#include "common/seams/task_loop.h"
#include "worker/lane_messages.h"

namespace millrace {

class Checkpointer {
 public:
  using Report = std::function<void(BatchId batch, const wire::Checkpointed& report)>;

  // `folder` of the job's incarnation: "JOBNAME-JOBID/INCARNATION".
  Checkpointer(TaskLoop& loop, CheckpointStore& store, std::string folder, ProcessId self, Report report);

  // All that is owned was, or is being, restored from this checkpoint: increments begin after it.
  void set_base(BatchId restored) { base_ = restored; }
  // The checkpoint of this batch is of a former version of the job, 0: none is. What follows it is everything.
  void set_former(BatchId checkpoint) { former_ = checkpoint; }
  // A checkpoint is complete: what it covers is in no increment any more.
  void raise_base(BatchId checkpointed) { base_ = std::max(base_, checkpointed); }
  // Gathers the shares; writes the file when all of `owned` have frozen.
  void add(Epoch epoch, FrozenShare share, const std::set<OwnedState>& owned);
  // Forgets what is under way for this batch (or any): it will not be reported.
  void abandon(BatchId batch);
  void abandon_all() { open_.reset(); }
  void merge(Epoch epoch, BatchId batch, const wire::MergeState& request);

 private:
  struct Open {
    Epoch epoch;
    BatchId batch;
    std::set<OwnedState> frozen;
    std::vector<StateRun> runs;
    std::vector<wire::LaneFreeze> lanes;
  };
  void write();
  [[nodiscard]] std::string file_name(Epoch epoch, BatchId batch, const std::string& suffix) const;
  void report_file(BatchId batch, wire::CheckpointFile file, const Result<StateFile>& written,
                   std::vector<wire::LaneFreeze> lanes = {});

  // Constant after construction.
  TaskLoop& loop_;          // outlives this
  CheckpointStore& store_;  // outlives this
  const std::string folder_;
  const ProcessId self_;
  const Report report_;

  // Owned by the loop.
  BatchId base_;
  BatchId former_;
  std::shared_ptr<Open> open_;
  Lifetime lifetime_;
};

}  // namespace millrace
