#include "stream/graph.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/model/duration.h"
#include "common/model/uri.h"
#include "stream/append_output.h"
#include "stream/job_error.h"
#include "stream/layout.h"

namespace millrace::internal {
namespace {

constexpr int64_t kLongest = std::chrono::milliseconds(std::chrono::years(10)).count();

std::string in_words(std::chrono::milliseconds duration) {
  return duration_text_ms(duration.count());
}

std::string name_of(const WindowSize& window) {
  return "a window of " + duration_text_ms(window.length_ms) + " that slides by " + duration_text_ms(window.slide_ms);
}

void check_window(const WindowSize& window, int64_t interval_ms) {
  const std::string name = name_of(window);
  for (const int64_t size : {window.length_ms, window.slide_ms}) {
    if (size <= 0 || size > kLongest) throw JobError(name + " is none; both go from the batch interval to ten years");
    if (size % interval_ms != 0) {
      throw JobError(name + " does not fit batches of " + duration_text_ms(interval_ms) +
                     "; make both whole multiples of the batch interval, or give the job another one");
    }
  }
}

}  // namespace

void check_same_window(const WindowSize& left, const WindowSize& right) {
  if (left == right) return;
  throw JobError(name_of(left) + " and " + name_of(right) + " cannot be joined; make both the same");
}

NodeId Graph::add(Node node) {
  nodes_.push_back(std::move(node));
  return nodes_.size();  // the source is node 0
}

NodeId Graph::add_node(NodeId origin, MakeNode make, Traits chain, std::string what) {
  const int32_t level = level_of(origin);
  if (level == 0) {
    direct_ = direct_ && chain.direct;
  } else if (chain.refuses) {
    throw JobError(
        "a function behind a shuffle returns std::expected or RecordProblem, but only what a record is mapped to can "
        "be refused, before any shuffle; leave such values out by filter()");
  }
  if (origin == kSource) ++source_chains_;
  return add({std::move(make), level, states_.size(), sources_of(origin), origin, std::move(what), {}, {}});
}

NodeId Graph::add_source(StateId state, MakeNode make, Gives gives, std::string what) {
  std::set<StateId> of = states_[state].of;
  if (gives == Gives::kChanges) of.insert(state);
  return add(
      {std::move(make), states_[state].level, states_.size(), std::move(of), kSource, std::move(what), state, {}});
}

void Graph::add_feed(NodeId node, NodeId feed) {
  nodes_[node - 1].of.merge(sources_of(feed));
  nodes_[feed - 1].feeds = node;
}

void Graph::check_same_level(NodeId left, NodeId right) const {
  if (level_of(left) == level_of(right)) return;
  const auto name = [](int32_t level) {
    return level == 0 ? std::string("of the source") : "behind " + std::to_string(level) + " shuffles";
  };
  throw JobError("a stream " + name(level_of(left)) + " and one " + name(level_of(right)) +
                 " cannot be brought together yet; join or unite them before the shuffles, or behind equally many");
}

StateId Graph::add_state(std::string name, std::string key, std::string what, MakeState make) {
  for (const State& state : states_) {
    if (state.name == name) throw JobError("two states are named '" + name + "'; give one of them another name");
  }
  const NodeId writer = nodes_.size();
  states_.push_back({std::move(name),
                     std::move(key),
                     std::move(what),
                     std::move(make),
                     level_of(writer) + 1,
                     writer,
                     sources_of(writer),
                     {}});
  return states_.size() - 1;
}

void Graph::migrate(StateId state, const std::string& now, const std::string& former, MigrateValue migrate) {
  State& migrated = states_[state];
  const std::string layout = migrated.make(0)->layout();
  const std::string name = "state '" + migrated.name + "'";
  if (layout != now && layout != std::string(now).append(kTouchedLayout)) {
    throw JobError(name + " keeps " + layout +
                   ", and migrate_from() is for running aggregations and update_state_by_key() only; give a state that "
                   "changes its types another name, under which it begins empty");
  }
  Migration migration{migrated.key + " -> " + former + layout.substr(now.size()), std::move(migrate)};
  if (former == now) {
    throw JobError(
        name + " is kept as " + migration.from +
        " now, so nothing of this layout is migrated; take the migrate_from() away, or name the former type");
  }
  if (migration_of(state, migration.from) != nullptr) {
    throw JobError(name + " is migrated from " + migration.from + " in two ways; take one migrate_from() away");
  }
  migrated.migrations.push_back(std::move(migration));
}

const Migration* Graph::migration_of(StateId state, const std::string& layout) const {
  const std::vector<Migration>& migrations = states_[state].migrations;
  const auto found = std::ranges::find(migrations, layout, &Migration::from);
  return found == migrations.end() ? nullptr : &*found;
}

void Graph::publish(StateId state, std::string name, std::shared_ptr<const AnyShow> show, TableForm form) {
  for (const PublishedTable& table : tables_) {
    if (table.state != state) continue;
    throw JobError("the table is published twice, as '" + table.plan.name + "' and '" + name + "'; keep one of them");
  }
  const bool index = states_[state].index;
  if (form == TableForm::kIndex || (form != TableForm::kHash && index)) {
    throw JobError("table '" + name + "' " + (index ? "is an index, which has one form" : "is no index") +
                   "; leave out the second argument of publish()");
  }
  if (index) form = TableForm::kIndex;
  tables_.push_back({{.name = std::move(name), .form = form, .rank = {}}, state, std::move(show)});
}

void Graph::rank(StateId state, std::string name, size_t size, bool all, const AnyShow* show) {
  const auto table = std::ranges::find(tables_, state, &PublishedTable::state);
  if (table == tables_.end() || table->show.get() != show)
    throw JobError("rank '" + name +
                   "' is of a table that is not published; publish what is ranked, after the same map_values()");
  TablePlan& plan = table->plan;
  if (!plan.rank.empty()) throw JobError("the table has two ranks, '" + plan.rank + "' and '" + name + "'; keep one");
  if (size == 0) throw JobError("rank '" + name + "' must hold at least one key");
  plan.rank = std::move(name);
  plan.rank_all = all;
  plan.rank_size = static_cast<int64_t>(size);
}

std::vector<TablePlan> Graph::tables() const {
  std::vector<TablePlan> plans;
  for (const PublishedTable& table : tables_) plans.push_back(table.plan);
  return plans;
}

void Graph::add_output(OutputPlan plan, std::function<std::unique_ptr<BatchFunction>()> make_function) {
  if (Status named = check_name("an output's name", plan.name); !named) throw JobError(named.error().message);
  if (plan.parts < 1 || plan.parts > OutputPlan::kMaxParts) {
    throw JobError("output '" + plan.name + "' has " + std::to_string(plan.parts) + " parts; there can be 1 to " +
                   std::to_string(OutputPlan::kMaxParts));
  }
  for (const OutputEnd& output : outputs_) {
    if (output.plan.name == plan.name) throw JobError("two outputs are named '" + plan.name + "'; rename one of them");
  }
  const StateId state =
      add_state("output " + plan.name, "none", "", [](size_t) { return std::make_unique<AppendTable>(); });
  outputs_.push_back({std::move(plan), state, std::move(make_function)});
}

std::vector<OutputPlan> Graph::outputs() const {
  std::vector<OutputPlan> plans;
  for (const OutputEnd& output : outputs_) plans.push_back(output.plan);
  return plans;
}

int64_t Graph::live_for(std::chrono::milliseconds time_to_live) {
  if (time_to_live <= std::chrono::milliseconds::zero() || time_to_live > std::chrono::years(1000)) {
    throw JobError("a time to live of " + in_words(time_to_live) +
                   " is none; give one from a millisecond to 1000 years, or none at all");
  }
  need_time();
  return time_to_live.count();
}

WindowSize Graph::add_window(std::chrono::milliseconds length, std::chrono::milliseconds slide) {
  need_time();
  remove_keys();
  windows_.push_back({length.count(), slide.count()});
  return windows_.back();
}

WindowSize Graph::add_batch_window() {
  const auto interval = std::chrono::floor<std::chrono::milliseconds>(batch_interval_);
  return add_window(interval, interval);
}

void Graph::check_changes(StateId state) const {
  if (!states_[state].no_changes.empty()) throw JobError(states_[state].no_changes);
}

void Graph::set_event_time(NodeId origin, std::chrono::milliseconds delay, std::chrono::milliseconds idle,
                           std::chrono::milliseconds ahead) {
  if (event_time_) {
    throw JobError(
        "the job gives event times twice, and has one watermark; give them once, and make several streams of what that "
        "gives");
  }
  if (level_of(origin) != 0) {
    throw JobError("an event time is given to what stands behind a shuffle, where nothing can be late; give it before");
  }
  for (const auto& [name, duration] :
       {std::pair("a delay", delay), std::pair("an idle time", idle), std::pair("a time ahead", ahead)}) {
    if (duration.count() < 0 || duration.count() > kLongest) {
      throw JobError(std::string(name) + " of " + in_words(duration) +
                     " is none; give the event time one from zero to ten years");
    }
  }
  need_time();
  event_time_ = EventTimePlan{delay.count(), idle.count()};
}

EventWindowSize Graph::add_event_window(std::chrono::milliseconds length, std::chrono::milliseconds slide) {
  constexpr int64_t kMostWindows = 64;  // a value is sent once for each
  const std::string name = name_of(WindowSize{length.count(), slide.count()});
  if (slide.count() <= 0 || length.count() > kLongest || slide > length) {
    throw JobError(name +
                   " is none by event time; both go from a second to ten years, and the slide is no longer "
                   "than the window");
  }
  if (length.count() % 1000 != 0 || slide.count() % 1000 != 0) {
    throw JobError(name + " is not of whole seconds, and a window's key names its begin by the second; make both so");
  }
  if (length.count() > kMostWindows * slide.count()) {
    throw JobError(name + " has each value more than " + std::to_string(kMostWindows) +
                   " times; make the slide longer, or the window shorter");
  }
  return {length.count(), slide.count()};
}

SessionGap Graph::add_sessions(std::chrono::milliseconds gap) {
  if (gap.count() <= 0 || gap.count() > kLongest) {
    throw JobError("a session's gap of " + in_words(gap) + " is none; it goes from a millisecond to ten years");
  }
  return {gap.count()};
}

int64_t Graph::keep_windows(const EventWindowSize& size, const std::optional<std::chrono::milliseconds>& keep) {
  if (!keep) return std::max(size.length_ms, std::chrono::milliseconds(std::chrono::minutes(1)).count());
  if (keep->count() >= 0 && (keep->count() <= kLongest || *keep == std::chrono::milliseconds::max())) {
    return keep->count();
  }
  throw JobError("windows cannot be kept for " + in_words(*keep) + "; keep them from zero to ten years, or for ever");
}

void Graph::finish(const JobContext& context) {
  if (tables_.empty()) {
    if (outputs_.empty()) {
      throw JobError(
          "the job publishes and writes nothing; end a table with publish(\"NAME\"), or a stream with write()");
    }
    // It has no keys, and so nothing to show; rounds and the status go on as for every job.
    tables_.push_back({{.name = outputs_.front().plan.name, .rank = {}}, outputs_.front().state, nullptr});
  }
  if (Status good = check_tables(tables()); !good) throw JobError(good.error().message);
  for (const OutputEnd& output : outputs_) {
    if (output.plan.parts <= context.state_partitions) continue;
    throw JobError("output '" + output.plan.name + "' has " + std::to_string(output.plan.parts) +
                   " parts, more than the job has state partitions (" + std::to_string(context.state_partitions) +
                   "); raise --state-partitions");
  }
  if (needs_time_ && context.batch_interval_us % 1000 != 0) {
    throw JobError("the job goes by batch time, which is in milliseconds, but its batch interval is " +
                   std::to_string(context.batch_interval_us) + " microseconds; give it one of whole milliseconds");
  }
  for (const WindowSize& window : windows_) check_window(window, context.batch_interval_us / 1000);
  if (levels() > JobPlan::kMaxLevels) {
    throw JobError("the job has " + std::to_string(levels()) + " shuffles one behind the other; there can be " +
                   std::to_string(JobPlan::kMaxLevels));
  }
}

int32_t Graph::levels() const {
  int32_t levels = 1;
  for (const State& state : states_) levels = std::max(levels, state.level);
  return levels;
}

void Graph::make_nodes(int32_t level, MapInstance& instance) const {
  for (NodeId node = 1; node <= nodes_.size(); ++node) {
    const Node& each = nodes_[node - 1];
    if (each.level != level) continue;
    const size_t before = instance.size();
    instance.begin_node(node, each.edge);
    each.make(instance);
    CHECK_EQ(instance.size(), before + 1) << "each of a job's makers adds one node";
  }
}

std::unique_ptr<MapInstance> Graph::make_map(int32_t state_partitions, std::unique_ptr<MapNode> source) const {
  auto instance = std::make_unique<MapInstance>(state_partitions, direct_ && source_chains_ == 1);
  instance->begin_node(kSource, 0);
  instance->add(std::move(source));
  make_nodes(0, *instance);
  return instance;
}

std::unique_ptr<MapInstance> Graph::make_level(int32_t level, int32_t state_partitions,
                                               std::span<const std::unique_ptr<StateTable>> states) const {
  auto instance = std::make_unique<MapInstance>(state_partitions, false, states);
  make_nodes(level, *instance);
  return instance;
}

std::vector<std::unique_ptr<StateTable>> Graph::make_states() const {
  std::vector<std::unique_ptr<StateTable>> states;
  for (StateId state = 0; state < states_.size(); ++state) {
    const auto published = std::ranges::find(tables_, state, &PublishedTable::state);
    const int64_t rank_size = published == tables_.end() ? 0 : published->plan.rank_size;
    states.push_back(states_[state].make(static_cast<size_t>(rank_size)));
    if (published == tables_.end() || published->show == nullptr) continue;
    auto* table = dynamic_cast<ShowsMapped*>(states.back().get());
    CHECK(table != nullptr) << "a table whose values are mapped knows how to show them";
    table->show_by(published->show);
  }
  return states;
}

std::vector<StatePlan> Graph::plan_of(std::span<const std::unique_ptr<StateTable>> states) const {
  std::vector<StatePlan> plans;
  for (const auto& table : states) {
    const State& state = states_[plans.size()];
    StatePlan& plan = plans.emplace_back(state.name, state.key + " -> " + table->layout());
    for (const StateId source : state.of) plan.of.push_back(states_[source].name);
    for (const Migration& migration : state.migrations) plan.reads.push_back(migration.from);
  }
  return plans;
}

}  // namespace millrace::internal
