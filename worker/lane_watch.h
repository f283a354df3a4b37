// LaneWatch: notices lanes that do not come back from the job's code: a function that never returns holds up the whole
// job, while this process is alive and well for everybody. Lives on the executor's loop.
//
// Time is counted in looks, not by the clock: where the whole process was frozen, no lane is to blame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/base/time.h"
#include "worker/lane_activity.h"

namespace millrace {

class LaneWatch {
 public:
  enum class State {
    kFine,
    kStuck,     // for `patience`: people are to know
    kHopeless,  // for twice that: only another process can help, if anything
  };

  void add(std::shared_ptr<const LaneActivity> lane) { lanes_.push_back({.activity = std::move(lane)}); }
  // The states of the lanes, by number; `passed` since the look before. `patience` zero: all are fine.
  std::vector<State> look(Duration passed, Duration patience);

 private:
  struct Watched {
    std::shared_ptr<const LaneActivity> activity;
    uint64_t count = 0;  // as seen last
    Duration still{};    // it has been in the same step for so long
  };

  std::vector<Watched> lanes_;
};

}  // namespace millrace
