// Graph: a job as its definition made it: nodes, edges that shuffle pairs to state partitions, and the states behind
// them. The templates of stream/stream.h put it together; GraphJob is what the engine runs.
//
// Nodes of level 0 are the map's; those of level n stand behind n shuffles, in the state partition. A node of level n
// writes an edge to a state of level n + 1, and what changes in that state begins level n + 1. An instance of the map's
// nodes belongs to one map task, an instance of the states and of all other nodes to one state partition. Nodes are
// made in the order of definition, so that the origin of each is there before it.
//
// In checkpoints a key of a state begins with the state's number (varint).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "stream/event_window.h"
#include "stream/job.h"
#include "stream/maker.h"
#include "stream/map_instance.h"
#include "stream/migration.h"
#include "stream/show.h"
#include "stream/window_size.h"

namespace millrace::internal {

// They are called whenever the nodes of a map task, or a level, and the states of a partition are made.
using MakeNode = Maker<void(MapInstance&)>;
using MakeState = Maker<std::unique_ptr<StateTable>(size_t rank_size)>;

// For what a MakeState gives: a std::unique_ptr of each type of table would cost the compiler as much as the table.
template <typename Table, typename... Arguments>
std::unique_ptr<StateTable> make_state(Arguments&&... arguments) {
  return std::unique_ptr<StateTable>(new Table(std::forward<Arguments>(arguments)...));
}

class Graph {
 public:
  static constexpr NodeId kSource = 0;

  explicit Graph(std::chrono::microseconds batch_interval = std::chrono::milliseconds(100))
      : batch_interval_(batch_interval) {}

  // What a chain promises of itself, see stream/chain.h.
  struct Traits {
    bool direct = false;
    bool refuses = false;
  };
  // `make` adds exactly one node, which consumes `origin`. `what` it does with its values is for people.
  NodeId add_node(NodeId origin, MakeNode make, Traits chain, std::string what);
  // What goes of a state when it is old is no change of what it says: changes() of it are an error, with this sentence.
  void refuse_changes(StateId state, std::string why) { states_[state].no_changes = std::move(why); }
  void check_changes(StateId state) const;
  // The state has members of its keys.
  void set_index(StateId state) { states_[state].index = true; }
  // A node that begins the level of `state`, with its changes or with what else it has.
  enum class Gives { kChanges, kOther };
  NodeId add_source(StateId state, MakeNode make, Gives gives, std::string what);
  // What `feed` gives is given by `node` too.
  void add_feed(NodeId node, NodeId feed);
  // Throws JobError where two streams that are brought together stand behind unequal numbers of shuffles.
  void check_same_level(NodeId left, NodeId right) const;
  // What the node made last writes, an edge, goes into a new state, of the level behind it. In checkpoints a state is
  // its number; other code knows it by its name. `key` is the layout of its keys, see stream/layout.h. `what` it does
  // with what comes is for people.
  StateId add_state(std::string name, std::string key, std::string what, MakeState make);

  // The state, which keeps values of the layout `now`, can be made of one that kept values of the layout `former`.
  void migrate(StateId state, const std::string& now, const std::string& former, MigrateValue migrate);
  // Of entries of that layout; none: there is none.
  [[nodiscard]] const Migration* migration_of(StateId state, const std::string& layout) const;

  // Shows a state to the sink and to queries; without `show` its values as they are.
  void publish(StateId state, std::string name, std::shared_ptr<const AnyShow> show = nullptr,
               TableForm form = TableForm::kHash);
  void rank(StateId state, std::string name, size_t size, bool all, const AnyShow* show = nullptr);
  // What the node made last writes goes to an output, whose records come to the state partitions 0 to plan.parts - 1;
  // `make_function`: for a plan without a format.
  void add_output(OutputPlan plan, std::function<std::unique_ptr<BatchFunction>()> make_function);
  // Some state changes with batch time, or its keys may go: see Job.
  void need_time() { needs_time_ = true; }
  void remove_keys() { removes_keys_ = true; }
  // It changes with batch time. Gives the milliseconds; JobError where they are none to live for.
  int64_t live_for(std::chrono::milliseconds time_to_live);

  // A window, which goes by time and removes keys; check() looks at its size.
  WindowSize add_window(std::chrono::milliseconds length, std::chrono::milliseconds slide);
  // One batch long.
  WindowSize add_batch_window();

  // The values of `origin` get an event time; JobError where they cannot.
  void set_event_time(NodeId origin, std::chrono::milliseconds delay, std::chrono::milliseconds idle,
                      std::chrono::milliseconds ahead);
  // Windows by it; JobError where they are none.
  [[nodiscard]] static EventWindowSize add_event_window(std::chrono::milliseconds length,
                                                        std::chrono::milliseconds slide);
  [[nodiscard]] static SessionGap add_sessions(std::chrono::milliseconds gap);
  // How many milliseconds such a window stays behind its end, see EventTableOptions.
  [[nodiscard]] static int64_t keep_windows(const EventWindowSize& size,
                                            const std::optional<std::chrono::milliseconds>& keep);

  // Throws JobError where the graph is no job, or none for this context. To be called once, when all is said.
  void finish(const JobContext& context);

  [[nodiscard]] std::vector<TablePlan> tables() const;
  [[nodiscard]] bool needs_time() const { return needs_time_; }
  [[nodiscard]] bool removes_keys() const { return removes_keys_; }
  // Of tables().
  [[nodiscard]] StateId state_of_table(size_t table) const { return tables_[table].state; }
  [[nodiscard]] const std::optional<EventTimePlan>& event_time() const { return event_time_; }
  // Shuffles that stand one behind the other.
  [[nodiscard]] int32_t levels() const;
  // What finish() has found good, as people see it.
  [[nodiscard]] JobShape shape() const;
  [[nodiscard]] std::vector<OutputPlan> outputs() const;
  [[nodiscard]] StateId state_of_output(size_t output) const { return outputs_[output].state; }
  [[nodiscard]] std::unique_ptr<BatchFunction> make_batch_function(size_t output) const {
    return outputs_[output].make_function();
  }
  [[nodiscard]] const std::string& name_of_state(StateId state) const { return states_[state].name; }
  // For people, as they are called in shape(): "state 'paid' (reduce_by_key)"; "what follows state 'paid' (changes,
  // map)".
  [[nodiscard]] std::string place_of(StateId state) const;
  [[nodiscard]] std::string place_behind(NodeId source) const;
  [[nodiscard]] int32_t level_of_state(StateId state) const { return states_[state].level; }
  [[nodiscard]] std::unique_ptr<MapInstance> make_map(int32_t state_partitions, std::unique_ptr<MapNode> source) const;
  [[nodiscard]] std::vector<std::unique_ptr<StateTable>> make_states() const;
  // What these, which it has made, keep.
  [[nodiscard]] std::vector<StatePlan> plan_of(std::span<const std::unique_ptr<StateTable>> states) const;
  // The nodes of a level from 1 on, of these states, which outlive them.
  [[nodiscard]] std::unique_ptr<MapInstance> make_level(int32_t level, int32_t state_partitions,
                                                        std::span<const std::unique_ptr<StateTable>> states) const;

 private:
  class Shaper;
  struct Node {
    MakeNode make;
    int32_t level;
    EdgeId edge;           // that it writes, if it writes one
    std::set<StateId> of;  // whose changes reach it
    NodeId origin;
    std::string what;
    std::optional<StateId> begins;  // that it is the source of
    std::optional<NodeId> feeds;
  };
  struct State {
    std::string name;
    std::string key;
    std::string what;
    MakeState make;
    int32_t level;
    NodeId writer;
    std::set<StateId> of;
    std::string no_changes;  // why nobody may follow what changes in it; empty: anybody may
    std::vector<Migration> migrations;
    bool index = false;
  };

  struct PublishedTable {
    TablePlan plan;
    StateId state;
    std::shared_ptr<const AnyShow> show;  // none: the values as they are
  };
  struct OutputEnd {
    OutputPlan plan;
    StateId state;
    std::function<std::unique_ptr<BatchFunction>()> make_function;
  };

  NodeId add(Node node);
  [[nodiscard]] std::set<StateId> sources_of(NodeId node) const {
    return node == kSource ? std::set<StateId>() : nodes_[node - 1].of;
  }
  [[nodiscard]] int32_t level_of(NodeId node) const { return node == kSource ? 0 : nodes_[node - 1].level; }
  void make_nodes(int32_t level, MapInstance& instance) const;

  const std::chrono::microseconds batch_interval_;
  std::vector<Node> nodes_;  // the source is node 0, and not here
  std::vector<WindowSize> windows_;
  size_t source_chains_ = 0;
  bool direct_ = true;
  std::vector<State> states_;
  std::vector<OutputEnd> outputs_;
  std::vector<PublishedTable> tables_;  // of states that differ
  bool needs_time_ = false;
  bool removes_keys_ = false;
  std::optional<EventTimePlan> event_time_;
};

class GraphJob final : public Job {
 public:
  GraphJob(std::shared_ptr<const Graph> graph, const JobContext& context)
      : graph_(std::move(graph)),
        state_partitions_(context.state_partitions),
        max_record_bytes_(context.max_record_bytes),
        topics_(context.topics) {}

  [[nodiscard]] std::vector<TablePlan> tables() const override { return graph_->tables(); }
  [[nodiscard]] bool needs_time() const override { return graph_->needs_time(); }
  [[nodiscard]] bool removes_keys() const override { return graph_->removes_keys(); }
  [[nodiscard]] int32_t levels() const override { return graph_->levels(); }
  [[nodiscard]] JobShape shape() const override { return graph_->shape(); }
  [[nodiscard]] std::vector<StatePlan> states() const override { return graph_->plan_of(graph_->make_states()); }
  [[nodiscard]] std::vector<OutputPlan> outputs() const override { return graph_->outputs(); }
  [[nodiscard]] std::unique_ptr<BatchFunction> make_batch_function(size_t output) const override {
    return graph_->make_batch_function(output);
  }
  [[nodiscard]] std::optional<EventTimePlan> event_time() const override { return graph_->event_time(); }
  [[nodiscard]] std::unique_ptr<MapTask> make_map_task() const override;
  [[nodiscard]] std::unique_ptr<StateTable> make_state_table() const override;

 private:
  const std::shared_ptr<const Graph> graph_;
  const int32_t state_partitions_;
  const int64_t max_record_bytes_;
  const std::vector<std::string> topics_;
};

// For people. A chain's operators, with one more; null: it is a part of something else.
std::string then(const std::string& operators, const char* name);
// An operator whose keys, or values, stay for so long.
std::string what_lives(const std::string& operator_name, int64_t time_to_live_ms);

}  // namespace millrace::internal
