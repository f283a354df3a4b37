#include "master/peer_cuts.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace millrace {

std::vector<ProcessId> choose_whom_to_give_up(std::vector<PeerCut> cuts,
                                              const std::map<ProcessId, MonotonicTime>& since) {
  std::vector<ProcessId> given_up;
  while (!cuts.empty()) {
    std::map<ProcessId, std::set<ProcessId>> cut_from;  // both ways: one that does not hear is as useless as one mute
    for (const auto& [one, other] : cuts) {
      cut_from[one].insert(other);
      cut_from[other].insert(one);
    }
    const auto rank = [&](const auto& entry) {
      return std::tuple(entry.second.size(), since.at(entry.first), entry.first);
    };
    const auto worst = std::ranges::max_element(cut_from, {}, rank);
    const ProcessId process = worst->first;
    given_up.push_back(process);
    std::erase_if(cuts, [&](const PeerCut& cut) { return cut.first == process || cut.second == process; });
  }
  return given_up;
}

}  // namespace millrace
