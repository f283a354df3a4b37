// Publisher: brings the snapshots of state partitions to the sink, many small ones or a few large ones at a time, each
// until its end is known: confirmed, fenced, lost, or given up because owners changed. What the sink could not take for
// now is tried again after a pause. Nothing is sent while the lease has lapsed. Lives on the executor's loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "common/runtime/lifetime.h"
#include "common/seams/sink.h"
#include "common/seams/task_loop.h"
#include "worker/lane_messages.h"

namespace millrace {

class Publisher {
 public:
  static constexpr size_t kLargeAtOnce = 4;     // once there are
  static constexpr size_t kManyEntries = 4096;  // under way
  static constexpr size_t kMaxAtOnce = 1024;

  struct Hooks {
    std::function<bool()> may_publish;  // the lease holds
    // A snapshot whose changes somebody follows came, which builds on `since`; before it is settled.
    std::function<void(const Snapshot&, BatchId since)> follow;
    // A snapshot came to its end; `fenced`: a younger owner has written.
    std::function<void(OwnedState, BatchId round, PublicationEnd, bool fenced)> settled;
    std::function<void(BatchId round, bool lost, bool fenced)> round_ended;
    std::function<void(const std::string& what)> trouble;  // for people; "": it is over
  };

  Publisher(TaskLoop& loop, std::unique_ptr<Sink> sink, SinkIdentity identity, Hooks hooks);

  // Partitions new to this process build on `published`; snapshots of before that are not under way are given up.
  void assign(const std::set<OwnedState>& owned, BatchId published);
  void add(Snapshot snapshot);
  void end_round(RoundEnd end);
  // Snapshots that have not come to their end.
  [[nodiscard]] size_t waiting() const { return items_.size(); }
  // The lease may hold again.
  void resume() { pump(); }

 private:
  struct Item {
    std::shared_ptr<const Snapshot> snapshot;
    bool under_way = false;
    bool given_up = false;  // under way, but owners have changed: not tried again
  };
  void pump_soon();
  void pump();
  [[nodiscard]] bool has_room() const;
  void note_end(Item& item);
  void publish(const OwnedState& state, Item& item);
  void on_published(const OwnedState& state, const std::shared_ptr<const Snapshot>& snapshot,
                    const Result<PublishOutcome>& outcome);
  void finish(const OwnedState& state, BatchId round, PublicationEnd end, bool fenced);
  void send_end();
  void on_end_written(BatchId round, const Result<PublishOutcome>& outcome);
  void retry_later(const Error& error);
  void succeeded();

  // Constant after construction.
  TaskLoop& loop_;  // outlives this
  const std::unique_ptr<Sink> sink_;
  const SinkIdentity identity_;
  const Hooks hooks_;

  // Owned by the loop.
  std::map<OwnedState, BatchId> done_;  // what the sink is known to hold; the keys are what this process owns
  std::map<OwnedState, Item> items_;    // at most one a partition
  size_t under_way_ = 0;
  size_t entries_under_way_ = 0;
  bool pump_posted_ = false;
  std::optional<RoundEnd> end_;
  bool end_under_way_ = false;
  bool pausing_ = false;
  Duration pause_{};
  Lifetime lifetime_;
};

}  // namespace millrace
