#include "common/model/state_changes.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace millrace {
namespace {

std::optional<size_t> find(const std::vector<StatePlan>& states, const std::string& name) {
  const auto found = std::ranges::find(states, name, &StatePlan::name);
  if (found == states.end()) return std::nullopt;
  return static_cast<size_t>(found - states.begin());
}

std::string in_words(StateFate fate) {
  switch (fate) {
    case StateFate::kKept:
    case StateFate::kMigrated: return "is " + to_string(fate);
    case StateFate::kNew:
    case StateFate::kDropped:
    case StateFate::kRefused: return "would begin empty";
  }
  return "unknown";
}

bool keeps_nothing(const std::string& layout) {
  return layout.ends_with(kNewestBatch);
}
bool keeps_nothing(const StatePlan& state) {
  return keeps_nothing(state.layout);
}

bool loses_something(const StateChange& change) {
  return change.fate == StateFate::kDropped && !keeps_nothing(change.layout_was);
}

std::string listed(const std::vector<std::string>& things, const std::string& none) {
  std::string text;
  for (const std::string& thing : things) text += (text.empty() ? "" : ", ") + thing;
  return text.empty() ? none : text;
}

// A state that begins empty although the code has functions for what it was before: under that name there was nothing.
bool has_nothing_to_migrate(const StateChange& change, const std::vector<StatePlan>& now) {
  return change.fate == StateFate::kNew && !now[*change.is].reads.empty();
}

std::string refusal_of_drop(const StateChange& dropped, const std::vector<StateChange>& changes,
                            const std::vector<StatePlan>& now) {
  std::vector<std::string> alike;
  for (const StateChange& change : changes) {
    if (change.fate != StateFate::kNew) continue;
    const StatePlan& state = now[*change.is];
    const bool fits = state.layout == dropped.layout_was || std::ranges::count(state.reads, dropped.layout_was) != 0;
    if (fits) alike.push_back("'" + change.name + "'");
  }
  return "state '" + dropped.name + "' (" + dropped.layout_was +
         ") would be dropped, and all that it holds would be lost: the new code keeps no state of that name. To keep "
         "it, give the state that goes on with it this name, as the last argument of its aggregation, \"" +
         dropped.name + "\"" + (alike.empty() ? "" : " (new, and of fitting types: " + listed(alike, "") + ")") +
         "; to lose it, say --drop '" + dropped.name + "'";
}

// The states that keep something of whose changes this one is made: those between that keep nothing pass on. Of a
// plan that a client made, so it may say anything; no state is looked at twice.
std::set<std::string> sources_of(const std::vector<StatePlan>& states, const StatePlan& state) {
  std::set<std::string> found;
  std::vector<const StatePlan*> passing = {&state};
  for (size_t next = 0; next < passing.size(); ++next) {
    for (const std::string& source : passing[next]->of) {
      if (!found.insert(source).second) continue;
      if (const auto at = find(states, source); at && keeps_nothing(states[*at])) passing.push_back(&states[*at]);
    }
  }
  std::erase_if(found, [&](const std::string& source) {
    const auto at = find(states, source);
    return at && keeps_nothing(states[*at]);
  });
  return found;
}

}  // namespace

std::string to_string(StateFate fate) {
  switch (fate) {
    case StateFate::kKept: return "kept";
    case StateFate::kMigrated: return "migrated";
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
    const bool is_same = before.layout == state.layout;
    const bool is_read = is_same || std::ranges::count(state.reads, before.layout) != 0;
    change.fate = StateFate::kRefused;
    if (!is_read) {
      change.problem = "was kept as " + before.layout + ", and the new code keeps it as " + state.layout +
                       "; give it another name, under which it begins empty" +
                       (state.reads.empty() ? ", or a migrate_from() where it can have one" : ". It is migrated from ");
      for (const std::string& former : state.reads) {
        change.problem += (&former == &state.reads.front() ? "" : ", or ") + former;
      }
      if (!state.reads.empty()) change.problem += " only";
    } else if (keeps_nothing(state) || sources_of(stored, before) == sources_of(now, state)) {
      change.fate = is_same ? StateFate::kKept : StateFate::kMigrated;
    } else {
      change.problem =
          "is made of the changes of other states than before; give it another name, and those too that "
          "it is made of";
    }
  }
  const auto fate_of = [&](const std::string& name) {
    const auto found = std::ranges::find(changes, name, &StateChange::name);
    return found == changes.end() ? StateFate::kNew : found->fate;
  };
  std::vector<std::string> problems(now.size());
  for (size_t is = 0; is < now.size(); ++is) {
    const StateFate fate = changes[is].fate;
    if (fate == StateFate::kRefused || keeps_nothing(now[is])) continue;
    for (const std::string& source : sources_of(now, now[is])) {
      const StateFate source_fate = fate_of(source);
      const bool go_on = fate != StateFate::kNew && source_fate == StateFate::kKept;
      const bool begin =
          fate == StateFate::kNew && source_fate != StateFate::kKept && source_fate != StateFate::kMigrated;
      if (go_on || begin) continue;
      problems[is] = in_words(fate) + ", but '" + source + "', of whose changes it is made, " + in_words(source_fate) +
                     "; give both other names, under which they begin empty" +
                     (source_fate == StateFate::kMigrated ? "" : ", or neither");
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

std::string note_of(const StateChange& change, const std::vector<StatePlan>& now) {
  if (loses_something(change)) return "all that it holds is lost";
  if (has_nothing_to_migrate(change, now)) {
    return "migrate_from(" + listed(now[*change.is].reads, "") + ") finds no former state of this name";
  }
  return "";
}

Status check_drops(const std::vector<StateChange>& changes, const std::vector<StatePlan>& now,
                   const std::vector<std::string>& agreed) {
  std::vector<std::string> problems;
  std::vector<std::string> kept;
  std::vector<std::string> dropped;
  for (const StateChange& change : changes) {
    if (change.was) kept.push_back("'" + change.name + "' (" + change.layout_was + ")");
    if (change.fate == StateFate::kDropped) dropped.push_back(change.name);
    if (!loses_something(change) || std::ranges::count(agreed, change.name) != 0) continue;
    problems.push_back(refusal_of_drop(change, changes, now));
  }
  // Whoever wrote the function meant one of those that are dropped.
  for (const StateChange& change : changes) {
    if (problems.empty() || !has_nothing_to_migrate(change, now)) continue;
    problems.push_back("state '" + change.name + "' has migrate_from(" + listed(now[*change.is].reads, "") +
                       "), but the job keeps no state of that name; it keeps " + listed(kept, "none"));
  }
  for (const std::string& name : agreed) {
    if (std::ranges::count(dropped, name) != 0) continue;
    problems.push_back("--drop '" + name + "': no such state is dropped; those that are: " + listed(dropped, "none"));
  }
  if (problems.empty()) return {};
  std::string refused;
  for (std::string& problem : problems) {
    if (!refused.empty()) problem[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(problem[0])));
    refused += (refused.empty() ? "" : ". ") + problem;
  }
  return fail(ErrorCode::kInvalid, refused);
}

}  // namespace millrace
