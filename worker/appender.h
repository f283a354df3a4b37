// Appender: brings what the batches of this executor's state partitions append to the job's outputs: of a part in the
// order of batches, each as soon as the one before is done, and tried again for ever, since nothing is dropped. A
// partition's share of a checkpoint waits here until outputs have come as far. Lives on the executor's loop.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/runtime/lifetime.h"
#include "common/seams/output.h"
#include "common/seams/task_loop.h"
#include "worker/lane_messages.h"

namespace millrace {

class Appender {
 public:
  struct Named {
    std::string name;
    std::unique_ptr<Output> output;
    int32_t parts = 1;
  };
  struct Hooks {
    std::function<bool()> may_append;                                                 // the lease holds
    std::function<void(const OwnedState& state, BatchId batch)> settled;              // of a batch that was added
    std::function<void(const std::string& output, const std::string& what)> trouble;  // for people; "": it is over
    std::function<void(Error error)> failed;                                          // the job cannot go on
  };

  // `outputs` by their number in the job's plan.
  Appender(TaskLoop& loop, std::vector<Named> outputs, Hooks hooks);

  // Tells the outputs who owns a part from here on. What is of partitions that are not owned any more is given up, and
  // all that waits for something.
  void assign(const std::set<OwnedState>& owned);
  // Batches of a partition ascending.
  void add(AppendShare share);
  // Calls `go_on`, which is about the checkpoint of this batch, once all is appended that was added so far of these
  // partitions; unless assign() comes before, or the checkpoint is given up, or the next one is there.
  void when_appended(const std::vector<OwnedState>& states, BatchId checkpoint, std::move_only_function<void()> go_on);
  void abandon_checkpoint(BatchId batch);
  // Something is not appended yet.
  [[nodiscard]] bool is_behind() const;
  // How many batches of state partitions are not.
  [[nodiscard]] size_t waiting() const;
  // The lease may hold again.
  void resume() { pump(); }
  // Tells of what takes longer than `patience` (zero: nothing does), `passed` since the look before. A function of the
  // job's own may wait for somebody else, so that is all.
  void look(Duration passed, Duration patience);

 private:
  struct Part {
    std::deque<std::shared_ptr<const AppendShare>> waiting;
    size_t next = 0;  // of the first one's records
    uint64_t added = 0;
    uint64_t settled = 0;
    bool pausing = false;
    Duration pause{};
    Duration under_way{};  // the first one's records
    bool told = false;     // that they take long
  };
  struct Held {
    BatchId checkpoint;
    std::map<OwnedState, uint64_t> until;  // as many are settled
    std::move_only_function<void()> go_on;
  };
  void enter(const OwnedState& state);
  void enter_all();
  void pump();
  void append(const OwnedState& state, Part& part);
  void on_appended(const OwnedState& state, const std::shared_ptr<const AppendShare>& share, const Status& status);
  void settle(const OwnedState& state, Part& part);
  void retry_later(const OwnedState& state, Part& part, const std::string& output, const Error& error);
  void note_trouble(const std::string& output, const OwnedState& state, const std::string& what);
  void release();
  [[nodiscard]] bool is_ready(const Held& held) const;

  // Constant after construction.
  TaskLoop& loop_;  // outlives this
  const std::vector<Named> outputs_;
  const Hooks hooks_;

  // Owned by the loop.
  std::set<OwnedState> owned_;
  std::map<OwnedState, Part> parts_;                                   // that have appended something
  std::set<StatePartition> under_way_;                                 // also for an owner of before
  std::deque<Held> held_;                                              // of one checkpoint
  BatchId abandoned_;                                                  // checkpoints up to here are given up
  std::map<std::string, std::map<OwnedState, std::string>> troubles_;  // by output
  Lifetime lifetime_;
};

}  // namespace millrace
