// LaneGroup: the lanes of one executor: posts calls to their loops, and remembers which lane has which partition. A
// state partition goes to the lane with the fewest when it is gained and stays there until it is lost; a log partition
// stays for ever where its first range was mapped, since its kept blocks are there.
//
// Lives on the executor's loop. The lanes end on their own loops.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "common/runtime/lifetime.h"
#include "worker/lane.h"

namespace millrace {

struct LaneSeams {
  TaskLoop* loop = nullptr;  // outlives the executor
  Lane::MakeLog make_log;
  size_t freeze_keys_per_step = 2000;  // how many keys of a checkpoint a lane copies before it looks for other work
};

class LaneGroup {
 public:
  static constexpr size_t kNoLane = SIZE_MAX;

  // `answers` is called on `own` loop.
  LaneGroup(TaskLoop& own, const Clock& clock, std::vector<LaneSeams> seams, LaneHandler& answers,
            const wire::JobSpec& spec, std::shared_ptr<const Job> job);
  ~LaneGroup();
  LaneGroup(const LaneGroup&) = delete;
  LaneGroup& operator=(const LaneGroup&) = delete;

  // on_opened() of each lane follows; lane 0 describes the log if asked to.
  void open(bool describe);
  // `shares` has the common part; its logs and states are spread over the lanes.
  void assign(const LaneAssignment& shares);
  void map(std::vector<MapRequest> requests);

  [[nodiscard]] size_t size() const { return lanes_.size(); }
  [[nodiscard]] const std::shared_ptr<const LaneActivity>& activity(size_t lane) const { return lanes_[lane].activity; }
  [[nodiscard]] const LaneFigures& figures(size_t lane) const { return *lanes_[lane].figures; }
  [[nodiscard]] size_t lane_of(StatePartition partition) const;

  // Calls `function(Lane&)` on the loop of one lane, or of all.
  template <typename Function>
  void call(size_t lane, Function function) {
    lanes_[lane].loop->post([weak = std::weak_ptr<Lane>(lanes_[lane].lane), function = std::move(function)]() mutable {
      if (const std::shared_ptr<Lane> alive = weak.lock()) function(*alive);
    });
  }
  template <typename Function>
  void call_all(const Function& function) {
    for (size_t lane = 0; lane < lanes_.size(); ++lane) call(lane, function);
  }

 private:
  struct Placed {
    TaskLoop* loop;
    std::shared_ptr<Lane> lane;
    std::shared_ptr<const LaneActivity> activity;
    std::shared_ptr<const LaneFigures> figures;
  };
  void place_states(const std::vector<OwnedState>& states);
  size_t place_log(LogPartition partition);

  std::vector<Placed> lanes_;
  std::map<OwnedState, size_t> states_;
  std::map<LogPartition, size_t> logs_;
  Lifetime lifetime_;
};

}  // namespace millrace
