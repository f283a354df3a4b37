// CheckpointCoordinator: makes checkpoints of one job out of what its executors report, one at a time, and keeps the
// chain of files bounded.
//
//   idle -> freezing (executors write increments) [-> merging (executors write new bases)] -> totals -> manifest ->
//   reference -> idle
//
// Nothing is forgotten anywhere before the reference to the manifest is durable. An error at any step abandons the
// checkpoint; the next one covers its changes too.
//
// Lives on the master's loop.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/runtime/lifetime.h"
#include "common/seams/checkpoint_store.h"
#include "wire_types.h"

namespace millrace {

// A complete checkpoint: the reference that the registry holds and what its manifest says.
struct KeptCheckpoint {
  wire::CheckpointRef reference;
  wire::Manifest manifest;
};

// "JOBNAME-JOB/INCARNATION": the folder of one incarnation's files in the checkpoint store.
std::string job_folder(const std::string& job_name, JobId job);  // all that the store holds of a job
std::string checkpoint_folder(const std::string& job_name, JobId job, Incarnation incarnation);

// True if for every state partition the files' ranges of batches join from 0 to the manifest's batch.
bool tiles_all_partitions(const wire::Manifest& manifest);

// What the manifest that `reference` names says. An error: these bytes are not it, or this program does not know it.
Result<wire::Manifest> read_manifest(const wire::CheckpointRef& reference, const std::string& bytes, JobId job);

// Of the names in a job's folder those that no kept checkpoint names and none to come will: of former incarnations, and
// of this one those of older epochs, and of this epoch up to the newest checkpoint. What the name does not tell the
// incarnation, epoch and batch of is left alone, and so is what is `spared`.
std::vector<std::string> abandoned_files(const std::vector<std::string>& names, const std::deque<KeptCheckpoint>& kept,
                                         Incarnation incarnation, Epoch epoch, std::set<std::string> spared = {});

class CheckpointCoordinator {
 public:
  struct Hooks {
    // Ask an executor to merge files into one for the given partitions.
    std::function<void(ProcessId, BatchId, wire::MergeState)> merge;
    // The manifest is written: make its reference durable (with whatever else), then call `done`.
    std::function<void(const KeptCheckpoint&, std::move_only_function<void(Status)> done)> commit;
    // The job's totals as of a batch, or nullptr while results are missing.
    std::function<const wire::BatchTotals*(BatchId)> totals;
    // No younger master has begun: files may be removed.
    std::function<bool()> may_remove;
    // The checkpoint is complete / abandoned (with the cause; `failed`: not because owners change).
    std::function<void(BatchId)> completed;
    std::function<void(BatchId, const std::string&, bool failed)> abandoned;
    // This executor's changes begin at a checkpoint beyond the newest, one that was given up: it has to load again.
    std::function<void(ProcessId)> is_beyond;
  };
  struct Options {
    int32_t base_every = 10;  // increments after which new bases are written
    size_t keep = 2;          // complete checkpoints that are kept
  };

  CheckpointCoordinator(Options options, CheckpointStore& store, Hooks hooks);

  // Complete checkpoints that a former master left, oldest first; and the files that stay whoever names them.
  void adopt(std::deque<KeptCheckpoint> kept, std::set<std::string> spared) {
    kept_ = std::move(kept);
    spared_ = std::move(spared);
  }

  struct Participant {
    ProcessId process;
    std::vector<StatePartition> partitions;
  };
  // Begins a checkpoint: `draft` has everything but the files. The participants freeze after draft.batch.
  void begin(wire::Manifest draft, std::string folder, std::vector<Participant> participants);
  void on_report(ProcessId from, BatchId batch, const wire::Checkpointed& report);
  // Totals that were missing may be there now.
  void on_totals();
  // Owners change: ends an open checkpoint that still waits for an executor. One whose files are all written goes on.
  void on_reassignment(const std::string& cause);
  // Ends the open checkpoint, if there is one; it must not be final.
  void give_up(const std::string& cause);
  // The newest checkpoint fails verification: forget it. False if there is none before it.
  bool drop_newest();

  // A complete checkpoint that is kept, or pinned; else nullptr.
  [[nodiscard]] const KeptCheckpoint* find(BatchId batch) const;
  // Keeps the files of one that is kept as long as this lives, or until unpin(). The registry does not know of it.
  void pin(BatchId batch);
  void unpin(BatchId batch);

  [[nodiscard]] bool open() const { return phase_ != Phase::kIdle; }
  // Its manifest is on the way: it can be given up no more.
  [[nodiscard]] bool is_final() const { return phase_ == Phase::kManifest; }
  [[nodiscard]] BatchId open_batch() const { return BatchId(draft_.batch); }
  // The newest complete one, or nullptr.
  [[nodiscard]] const KeptCheckpoint* newest() const { return kept_.empty() ? nullptr : &kept_.back(); }
  [[nodiscard]] BatchId newest_batch() const { return BatchId(kept_.empty() ? 0 : kept_.back().manifest.batch); }
  [[nodiscard]] BatchId oldest_batch() const { return BatchId(kept_.empty() ? 0 : kept_.front().manifest.batch); }
  [[nodiscard]] const std::deque<KeptCheckpoint>& kept() const { return kept_; }
  // It is of a former version of the job: nothing can follow its files.
  [[nodiscard]] bool newest_is_former(int32_t job_version) const {
    return newest() != nullptr && newest()->manifest.job_version != job_version;
  }
  // Those that the registry shall name once `added` is complete, and the files that then nobody names.
  [[nodiscard]] std::vector<wire::CheckpointRef> references_with(const KeptCheckpoint& added) const;

 private:
  static constexpr uint64_t kSweepEvery = 10;  // complete checkpoints; the first one of a master is among them
  enum class Phase { kIdle, kFreezing, kMerging, kTotals, kManifest };

  void abandon(const std::string& cause, bool failed = true);
  void on_increments_complete();
  void begin_merge();
  void write_manifest();
  void on_manifest_written(KeptCheckpoint added);
  void sweep();
  // Those that stay whatever kept_ names.
  [[nodiscard]] std::set<std::string> spared_and_pinned() const;
  void remove_unnamed(const std::vector<wire::CheckpointFile>& files, const std::string& manifest = "");
  // What the open checkpoint goes on from: the files of the newest one, and the batch after which increments begin.
  [[nodiscard]] std::vector<wire::CheckpointFile> chain() const;
  [[nodiscard]] BatchId chain_end() const;
  [[nodiscard]] int32_t chain_length() const;

  // Constant after construction.
  const Options options_;
  CheckpointStore& store_;  // outlives this
  const Hooks hooks_;

  // Owned by the loop.
  std::deque<KeptCheckpoint> kept_;  // oldest first
  std::set<std::string> spared_;     // names
  std::map<BatchId, KeptCheckpoint> pinned_;
  Phase phase_ = Phase::kIdle;
  wire::Manifest draft_;
  std::string folder_;
  std::vector<Participant> participants_;
  std::set<ProcessId> waiting_;
  std::vector<wire::CheckpointFile> increments_;
  uint64_t completed_ = 0;
  uint64_t attempt_ = 0;  // tells completions of an abandoned checkpoint from those of the open one
  Lifetime lifetime_;
};

}  // namespace millrace
