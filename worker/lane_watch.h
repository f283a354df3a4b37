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
  void add(std::shared_ptr<const LaneActivity> lane) { lanes_.push_back({.activity = std::move(lane)}); }
  // Which lanes, by number, have been in the same step for `patience`; `passed` since the look before. `patience` zero:
  // none.
  std::vector<bool> look(Duration passed, Duration patience);

 private:
  struct Watched {
    std::shared_ptr<const LaneActivity> activity;
    uint64_t count = 0;  // as seen last
    Duration still{};    // it has been in the same step for so long
  };

  std::vector<Watched> lanes_;
};

}  // namespace millrace
