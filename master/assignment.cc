#include "master/assignment.h"

#include <algorithm>

#include "common/base/check.h"

namespace millrace {
namespace {

// Deals items among the candidates: each keeps what it has up to its limit, the rest goes to who has least for its
// lanes. Balanced limits add up to the number of items, and none is less than the floor that is_unbalanced() asks for.
class Dealer {
 public:
  Dealer(const std::vector<Candidate>& candidates, const std::vector<ProcessId>& owners, bool balance)
      : candidates_(candidates) {
    const auto items = static_cast<int64_t>(owners.size());
    int64_t lanes = 0;
    for (const Candidate& candidate : candidates) lanes += candidate.lanes;
    CHECK_GT(lanes, 0);
    int64_t left = items;
    for (const Candidate& candidate : candidates) {
      count_[candidate.process] = 0;
      limit_[candidate.process] = balance ? items * candidate.lanes / lanes : items;
      left -= limit_[candidate.process];
    }
    // What the division leaves goes to those that have most, so that the least moves.
    std::vector<std::pair<int64_t, ProcessId>> most;
    for (const Candidate& candidate : candidates) {
      const auto owned = std::count(owners.begin(), owners.end(), candidate.process);
      most.emplace_back(limit_[candidate.process] - owned, candidate.process);
    }
    std::sort(most.begin(), most.end());
    for (auto entry = most.begin(); left > 0; ++entry, --left) ++limit_[entry->second];
  }

  // True if `owner` may keep one more.
  bool keep(ProcessId owner) {
    const auto found = count_.find(owner);
    if (found == count_.end() || found->second >= limit_[owner]) return false;
    ++found->second;
    return true;
  }

  ProcessId next() {
    const auto least = std::min_element(candidates_.begin(), candidates_.end(), [&](const auto& a, const auto& b) {
      if (is_full(a.process) != is_full(b.process)) return is_full(b.process);
      const int64_t left = count_[a.process] * b.lanes;  // count / lanes, without the division
      const int64_t right = count_[b.process] * a.lanes;
      return left != right ? left < right : a.process < b.process;
    });
    ++count_[least->process];
    return least->process;
  }

 private:
  [[nodiscard]] bool is_full(ProcessId process) const { return count_.at(process) >= limit_.at(process); }

  const std::vector<Candidate>& candidates_;
  std::map<ProcessId, int64_t> limit_;
  std::map<ProcessId, int64_t> count_;
};

bool is_candidate(const std::vector<Candidate>& candidates, ProcessId process) {
  return std::any_of(candidates.begin(), candidates.end(),
                     [&](const Candidate& candidate) { return candidate.process == process; });
}

}  // namespace

Assignment spread(const Assignment& current, const std::vector<Candidate>& candidates, bool balance,
                  const std::vector<StatePartition>& reload) {
  Assignment next = current;
  next.number = current.number.next();
  if (candidates.empty()) {
    for (auto& [id, owner] : next.logs) owner = kNoProcess;
    for (StateOwnership& state : next.states) state.process = kNoProcess;
    next.rank_owner = kNoProcess;
    return next;
  }

  std::vector<ProcessId> owners;
  for (const auto& [id, owner] : next.logs) owners.push_back(owner);
  Dealer logs(candidates, owners, balance);
  std::vector<LogPartition> homeless_logs;
  for (auto& [id, owner] : next.logs) {
    if (!logs.keep(owner)) homeless_logs.push_back(id);
  }
  for (LogPartition id : homeless_logs) next.logs[id] = logs.next();

  owners.clear();
  for (const StateOwnership& state : next.states) owners.push_back(state.process);
  Dealer states(candidates, owners, balance);
  std::vector<size_t> homeless_states;
  for (size_t i = 0; i < next.states.size(); ++i) {
    if (!states.keep(next.states[i].process)) homeless_states.push_back(i);
  }
  for (size_t i : homeless_states) next.states[i] = {states.next(), next.number};
  for (StatePartition partition : reload) next.states[static_cast<size_t>(partition.value())].generation = next.number;

  if (!is_candidate(candidates, next.rank_owner)) next.rank_owner = next.states.front().process;
  return next;
}

void renew_states(Assignment& assignment) {
  for (StateOwnership& state : assignment.states) state.generation = assignment.number;
}

bool is_unbalanced(const Assignment& current, const std::vector<Candidate>& candidates) {
  int64_t lanes = 0;
  for (const Candidate& candidate : candidates) lanes += candidate.lanes;
  if (lanes <= 0) return false;
  for (const Candidate& candidate : candidates) {
    int64_t states = 0;
    for (const StateOwnership& state : current.states) states += state.process == candidate.process ? 1 : 0;
    int64_t logs = 0;
    for (const auto& [id, owner] : current.logs) logs += owner == candidate.process ? 1 : 0;
    if (states < static_cast<int64_t>(current.states.size()) * candidate.lanes / lanes) return true;
    if (logs < static_cast<int64_t>(current.logs.size()) * candidate.lanes / lanes) return true;
  }
  return false;
}

}  // namespace millrace
