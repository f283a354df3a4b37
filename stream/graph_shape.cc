// Graph: how it is put together, for people.

#include <algorithm>
#include <map>
#include <utility>

#include "common/model/duration.h"
#include "stream/graph.h"

namespace millrace::internal {

std::string then(const std::string& operators, const char* name) {
  if (name == nullptr) return operators;
  return operators.empty() ? name : operators + ", " + name;
}

std::string what_lives(const std::string& operator_name, int64_t time_to_live_ms) {
  return operator_name + ", for " + duration_text_ms(time_to_live_ms);
}

std::string Graph::place_of(StateId state) const {
  const State& each = states_[state];
  return "state '" + each.name + "'" + (each.what.empty() || each.what == each.name ? "" : " (" + each.what + ")");
}

std::string Graph::place_behind(NodeId source) const {
  const Node& begin = nodes_[source - 1];
  // Several chains may follow, and what throws does not say in which one it stands.
  std::string chains;
  for (const Node& node : nodes_) {
    if (node.origin != source) continue;
    const std::string chain = then(begin.what, node.what.empty() ? nullptr : node.what.c_str());
    if (!chain.empty()) chains += (chains.empty() ? "" : "; or ") + chain;
  }
  return "what follows state '" + states_[*begin.begins].name + "'" + (chains.empty() ? "" : " (" + chains + ")");
}

std::string what_of(const WindowSize& size) {
  return "of a window of " + duration_text_ms(size.length_ms) + " that slides by " + duration_text_ms(size.slide_ms);
}

std::string name_of(const EventWindowSize& size) {
  return "windows of " + duration_text_ms(size.length_ms) + " by event time" +
         (size.slide_ms == size.length_ms ? "" : ", one each " + duration_text_ms(size.slide_ms));
}

std::string name_of(const SessionGap& gap) {
  return "sessions with a gap of " + duration_text_ms(gap.gap_ms) + " by event time";
}

// Makes the parts in an order in which each stands behind those that it is from.
class Graph::Shaper {
 public:
  explicit Shaper(const Graph& graph) : graph_(graph) {
    add({.kind = JobPart::Kind::kSource, .name = "records", .facts = {}, .stage = 0, .from = {}});
  }

  JobShape make() {
    const auto states = graph_.make_states();
    const std::vector<StatePlan> plans = graph_.plan_of(states);
    for (StateId state = 0; state < graph_.states_.size(); ++state) {
      const State& each = graph_.states_[state];
      const auto output = std::ranges::find(graph_.outputs_, state, &OutputEnd::state);
      const size_t from = chain(each.writer);
      if (output != graph_.outputs_.end()) {
        add(part_of(output->plan, each.level, from));
        continue;
      }
      JobPart part{.kind = JobPart::Kind::kState, .name = each.name, .facts = {}, .stage = each.level, .from = {from}};
      if (each.what != each.name) part.facts.push_back(each.what);
      part.facts.push_back(plans[state].layout);
      for (const std::string& former : plans[state].reads) part.facts.push_back("migrates " + former);
      state_parts_[state] = add(std::move(part));
    }
    for (const PublishedTable& table : graph_.tables_) {
      if (state_parts_.contains(table.state)) add(part_of(table));
    }
    return std::move(shape_);
  }

 private:
  size_t add(JobPart part) {
    shape_.push_back(std::move(part));
    return shape_.size() - 1;
  }

  // What the node gives its consumers.
  size_t after(NodeId node) {
    if (node == kSource) return 0;
    const Node& each = graph_.nodes_[node - 1];
    if (each.begins) return state_parts_.at(*each.begins);
    const auto known = shared_.find(node);
    if (known != shared_.end()) return known->second;
    std::vector<NodeId> feeds;
    for (NodeId feed = 1; feed <= graph_.nodes_.size(); ++feed) {
      if (graph_.nodes_[feed - 1].feeds == node) feeds.push_back(feed);
    }
    const char* const what = each.what.empty() ? nullptr : each.what.c_str();
    size_t part = 0;
    if (feeds.size() == 1) {
      part = chain(feeds.front(), what);
    } else {
      JobPart all{.kind = JobPart::Kind::kChain, .name = each.what, .facts = {}, .stage = each.level, .from = {}};
      for (const NodeId feed : feeds) all.from.push_back(chain(feed));
      part = add(std::move(all));
    }
    return shared_[node] = part;
  }

  // What the node's chain makes of what its origin gives: a part of its own, if the chain does anything.
  size_t chain(NodeId node, const char* last = nullptr) {
    const Node& each = graph_.nodes_[node - 1];
    std::string name = then(began_by(each.origin), each.what.empty() ? nullptr : each.what.c_str());
    name = then(name, last);
    const size_t from = after(each.origin);
    if (name.empty()) return from;
    return add(
        {.kind = JobPart::Kind::kChain, .name = std::move(name), .facts = {}, .stage = each.level, .from = {from}});
  }

  // How what a level begins with is called.
  [[nodiscard]] std::string began_by(NodeId node) const {
    if (node == kSource || !graph_.nodes_[node - 1].begins) return "";
    return graph_.nodes_[node - 1].what;
  }

  static JobPart part_of(const OutputPlan& plan, int32_t stage, size_t from) {
    JobPart part{.kind = JobPart::Kind::kOutput, .name = plan.name, .facts = {}, .stage = stage, .from = {from}};
    part.facts.push_back(plan.format.empty() ? "given to the job's own code" : "lines of " + plan.format);
    if (plan.parts > 1) part.facts.push_back("in " + std::to_string(plan.parts) + " parts");
    return part;
  }

  [[nodiscard]] JobPart part_of(const PublishedTable& table) const {
    const TablePlan& plan = table.plan;
    JobPart part{.kind = JobPart::Kind::kTable,
                 .name = plan.name,
                 .facts = {},
                 .stage = graph_.level_of_state(table.state),
                 .from = {state_parts_.at(table.state)}};
    if (graph_.removes_keys()) part.facts.emplace_back("keys may go");
    if (!plan.rank.empty()) {
      part.facts.push_back("rank " + plan.rank + ": the highest " + std::to_string(plan.rank_size) +
                           (plan.rank_all ? "; the sink's holds every key" : ""));
    }
    return part;
  }

  const Graph& graph_;
  JobShape shape_;
  std::map<NodeId, size_t> shared_;  // of those that have several consumers, or are fed
  std::map<StateId, size_t> state_parts_;
};

JobShape Graph::shape() const {
  return Shaper(*this).make();
}

}  // namespace millrace::internal
