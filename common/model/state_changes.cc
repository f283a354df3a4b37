#include "common/model/state_changes.h"

#include <algorithm>

namespace millrace {
namespace {

std::optional<size_t> find(const std::vector<StatePlan>& states, const std::string& name) {
  const auto found = std::ranges::find(states, name, &StatePlan::name);
  if (found == states.end()) return std::nullopt;
  return static_cast<size_t>(found - states.begin());
}

}  // namespace

std::string to_string(StateFate fate) {
  switch (fate) {
    case StateFate::kKept: return "kept";
    case StateFate::kNew: return "new";
    case StateFate::kDropped: return "dropped";
    case StateFate::kRefused: return "refused";
  }
  return "unknown";
}

std::vector<StateChange> changes_of_states(const std::vector<StatePlan>& stored, const std::vector<StatePlan>& now) {
  std::vector<StateChange> changes;
  for (size_t is = 0; is < now.size(); ++is) {
    const StatePlan& state = now[is];
    StateChange& change =
        changes.emplace_back(StateFate::kNew, state.name, find(stored, state.name), is, "", state.layout, "");
    if (!change.was) continue;
    const StatePlan& before = stored[*change.was];
    change.layout_was = before.layout;
    change.fate = before.layout == state.layout && before.of == state.of ? StateFate::kKept : StateFate::kRefused;
    if (before.layout != state.layout) {
      change.problem = "was kept as " + before.layout + ", and the new code keeps it as " + state.layout +
                       "; give it another name, under which it begins empty";
    } else if (before.of != state.of) {
      change.problem =
          "is made of the changes of other states than before; give it another name, and those too that "
          "it is made of";
    }
  }
  const auto kept = [&](const std::string& name) {
    return std::ranges::any_of(
        changes, [&](const StateChange& change) { return change.name == name && change.fate == StateFate::kKept; });
  };
  std::vector<std::string> problems(now.size());
  for (size_t is = 0; is < now.size(); ++is) {
    if (changes[is].fate == StateFate::kRefused) continue;
    const bool is_kept = changes[is].fate == StateFate::kKept;
    for (const std::string& source : now[is].of) {
      if (kept(source) == is_kept) continue;
      problems[is] = std::string(is_kept ? "is kept" : "would begin empty") + ", but '" + source +
                     "', of whose changes it is made, " + (is_kept ? "would begin empty" : "is kept") +
                     "; give both other names, under which they begin empty, or neither";
    }
  }
  for (size_t is = 0; is < now.size(); ++is) {
    if (problems[is].empty()) continue;
    changes[is].fate = StateFate::kRefused;
    changes[is].problem = std::move(problems[is]);
  }
  for (size_t was = 0; was < stored.size(); ++was) {
    const StatePlan& state = stored[was];
    if (find(now, state.name)) continue;
    changes.push_back({StateFate::kDropped, state.name, was, std::nullopt, state.layout, "", ""});
  }
  return changes;
}

Status check_states(const std::vector<StateChange>& changes) {
  std::string refused;
  for (const StateChange& change : changes) {
    if (change.fate != StateFate::kRefused) continue;
    refused += (refused.empty() ? "state '" : ". State '") + change.name + "' " + change.problem;
  }
  if (refused.empty()) return {};
  return fail(ErrorCode::kInvalid, refused);
}

}  // namespace millrace
