// MasterReports: what an executor has to tell its master often, gathered into few messages: what the readers have
// fetched at once but then no more for a millisecond, everything else once per turn of the loop. Lives on the
// executor's loop.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/runtime/lifetime.h"
#include "common/seams/task_loop.h"
#include "worker/lane_messages.h"

namespace millrace {

// Wire forms of a partition with its generation.
wire::OwnedPartition owned_partition(const OwnedState& state, BatchId applied, BatchId begun = BatchId(0));
wire::MapResult map_result(const MapOutcome& outcome);

class MasterReports {
 public:
  static constexpr size_t kMaxLetters = 100;         // of one range; they are counted all the same
  static constexpr size_t kMaxLettersAtOnce = 4000;  // of one message, whose size they decide
  static constexpr size_t kMaxBoundaries = 10'000;   // the newest of a partition says it all

  using Send = std::function<void(BatchId batch, const wire::Body& body)>;
  MasterReports(TaskLoop& loop, Send send);

  void fetched(wire::FetchedPartition boundary);
  // What lanes say of times is told at `now`.
  void mapped(const MapOutcome& outcome, const std::optional<RangeTimes>& times, MonotonicTime now);
  void reduced(size_t lane, const ReduceTimes& times, MonotonicTime now);
  void applied(const LaneApplied::Partition& told);
  // Of all partitions of a lane.
  void load(size_t lane, int64_t keys, int64_t memory_bytes);
  // The newest batch that changed anything.
  void changed(BatchId batch) { changed_ = std::max(changed_, batch); }
  // Sent before it is told that the snapshot is published. `since`: of which batch on its keys are; of a full one all.
  void changes(const Snapshot& snapshot, BatchId since, bool keys_may_go);
  void published(const OwnedState& state, BatchId round);
  void lost(const OwnedState& state, BatchId round);
  // What goes wrong at a place now, for people; "" when it is over. Sent again by repeat_trouble().
  enum class Weight {
    kPassing,
    kStuck,  // it may be the end of this executor: it stays true when nobody is there to say it
    kFatal,  // the job cannot go on
  };
  void trouble(const std::string& place, const std::string& what, Weight weight = Weight::kPassing);
  void repeat_trouble();

  // Forgets what was not yet sent: it belongs to owners of before.
  void clear();

 private:
  struct Load {
    int64_t keys = 0;
    int64_t memory_bytes = 0;
  };
  struct Trouble {
    std::string what;
    Weight weight = Weight::kPassing;
    bool operator==(const Trouble&) const = default;
  };
  void flush_soon();
  void flush();
  void flush_changes();
  void flush_fetched();
  void pause_fetched();

  TaskLoop& loop_;  // outlives this
  const Send send_;

  std::vector<wire::FetchedPartition> fetched_;
  bool fetched_pausing_ = false;
  bool flush_posted_ = false;
  std::map<BatchId, wire::MapDone> mapped_;
  size_t mapped_letters_ = 0;
  std::map<OwnedState, LaneApplied::Partition> applied_;
  std::map<size_t, Load> loads_;
  std::vector<wire::LaneTimes> times_;
  BatchId changed_;
  BatchId changes_of_;        // the round of what follows
  size_t changes_bytes_ = 0;  // of that round, up to now
  wire::RoundChanges changes_;
  size_t unsent_changes_ = 0;  // bytes
  std::map<BatchId, wire::Published> published_;
  std::map<std::string, Trouble> troubles_;  // by place
  Lifetime lifetime_;
};

}  // namespace millrace
