// Restorer: loads the partitions that an executor has gained from the files of a checkpoint: one file after the other
// in the order of their application, each handed to the lanes that own its partitions. A file that could not be read
// for now is tried again; one that fails verification ends it. Lives on the executor's loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "common/runtime/lifetime.h"
#include "common/seams/checkpoint_store.h"
#include "common/seams/task_loop.h"
#include "worker/lane_messages.h"

namespace millrace {

class Restorer {
 public:
  struct Hooks {
    std::function<void(size_t lane, RestoreShare)> to_lane;  // answered by on_restored()
    std::function<void(size_t lane, std::vector<OwnedState>, BatchId)> finished;
    std::function<void(const std::string& file, const Error&)> failed;  // never to be restored from this file
    std::function<void(const std::string& what)> trouble;               // for people; "": it is over
  };
  struct Gained {
    OwnedState state;
    size_t lane;
  };

  Restorer(TaskLoop& loop, CheckpointStore& store, Hooks hooks)
      : loop_(loop), store_(store), hooks_(std::move(hooks)) {}

  void start(std::vector<Gained> gained, std::vector<wire::CheckpointFile> files, BatchId checkpoint,
             BatchId published);
  void on_restored(uint64_t ticket);

 private:
  struct Work {
    std::vector<Gained> gained;
    std::vector<wire::CheckpointFile> files;
    BatchId checkpoint;
    BatchId published;
    size_t next = 0;     // file
    size_t waiting = 0;  // lanes that restore from the last file
    Duration pause{};
  };
  void read_next(uint64_t ticket);
  void on_read(uint64_t ticket, Result<StateRun> run);
  void finish(uint64_t ticket);

  // Constant after construction.
  TaskLoop& loop_;          // outlives this
  CheckpointStore& store_;  // outlives this
  const Hooks hooks_;

  // Owned by the loop.
  std::map<uint64_t, Work> works_;  // by ticket
  uint64_t last_ticket_ = 0;
  Lifetime lifetime_;
};

}  // namespace millrace
