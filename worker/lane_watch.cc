#include "worker/lane_watch.h"

#include <utility>

#include "common/model/source_topics.h"

namespace millrace {

std::string LaneActivity::text() const {
  const auto number = [](const auto& of) { return std::to_string(of.load(std::memory_order_relaxed)); };
  const std::string of_state = "state partition " + number(place_);
  switch (kind_.load(std::memory_order_relaxed)) {
    case Kind::kNothing: break;
    case Kind::kMap:
      return "map of batch " + number(batch_) + ", " + text_of(LogPartition(place_.load(std::memory_order_relaxed))) +
             ", offsets " + number(from_) + " to " + number(to_);
    case Kind::kApply: return "batch " + number(batch_) + " in " + of_state;
    case Kind::kRestore: return "restore of " + of_state + " from batch " + number(batch_);
    case Kind::kShow: return "results of batch " + number(batch_) + " from " + of_state;
    case Kind::kSave: return "checkpoint of batch " + number(batch_) + " from " + of_state;
  }
  return "nothing";
}

std::vector<bool> LaneWatch::look(Duration passed, Duration patience) {
  std::vector<bool> stuck;
  for (Watched& lane : lanes_) {
    const uint64_t count = lane.activity->count();
    const bool still = lane.activity->in_call() && count == lane.count;
    lane.still = still ? lane.still + passed : Duration{};
    lane.count = count;
    stuck.push_back(patience > Duration{} && lane.still >= patience);
  }
  return stuck;
}

}  // namespace millrace
