// JobPlan: what the engine has to know of a job's code without running it. Whoever makes the job (the client for a
// library, the master for a built-in one) makes the plan; each executor compares it with that of its own job.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/model/watermark.h"

namespace millrace {

// The layout of what holds what the newest batch brought and nothing older.
inline constexpr std::string_view kNewestBatch = "the newest batch";

// Something that a job keeps from batch to batch.
struct StatePlan {
  std::string name;
  std::string layout;           // of its entries in checkpoints, see stream/layout.h
  std::vector<std::string> of;  // states whose changes reach it
  // Former layouts whose entries the code can make its own of.
  std::vector<std::string> reads = {};  // NOLINT(readability-redundant-member-init): may be left out

  bool operator==(const StatePlan&) const = default;
};

// What a job appends, batch by batch, somewhere; where, its code does not say.
struct OutputPlan {
  static constexpr int32_t kMaxParts = 256;

  std::string name;
  std::string format;  // of its lines: text, json, csv; empty: its batches are given to a function of the job's own
  int32_t parts = 1;   // of the state partitions 0 to parts - 1

  bool operator==(const OutputPlan&) const = default;
};

// How readers of the sink find what a table holds; see adapters/redis_scripts.h.
enum class TableForm : int8_t { kHash, kStrings, kIndex };

// A table that a job publishes, and its rank: the highest ones by score.
struct TablePlan {
  std::string name;  // {JOB}:NAME in the sink
  TableForm form = TableForm::kHash;
  std::string rank;       // {JOB}:RANK, e.g. "top"; empty: the table has none
  bool rank_all = false;  // the sink's rank holds every key and is written with the values
  int64_t rank_size = 0;  // 0: no rank

  // The rank is written at the end of a round, as a whole.
  [[nodiscard]] bool rank_of_rounds() const { return !rank.empty() && !rank_all; }
  bool operator==(const TablePlan&) const = default;
};

struct JobPlan {
  static constexpr int32_t kMaxLevels = 16;
  static constexpr size_t kMaxTables = 32;

  std::vector<TablePlan> tables;  // that it publishes; where nobody names one, the first is meant
  bool needs_time = false;
  bool removes = false;
  int32_t levels = 1;  // shuffles that stand one behind the other in a batch
  std::vector<StatePlan> states;
  std::vector<OutputPlan> outputs;  // what is appended
  std::optional<EventTimePlan> event_time;

  bool operator==(const JobPlan&) const = default;
};

// kInvalid: names of tables and ranks that cannot stand side by side in a sink, with its own notes; or no tables.
Status check_tables(const std::vector<TablePlan>& tables);

enum class WantedTable { kAny, kRanked, kIndex };

// The number of the table that a reader of `job` ("job 'x'") means by a name; "": the first one that is as wanted.
// kNotFound lists their names; kInvalid: that one, or none, is as wanted.
Result<size_t> find_table(const std::vector<TablePlan>& tables, const std::string& name, WantedTable wanted,
                          const std::string& job);

// From and to what the Thrift compiler made of StatePlan and JobPlan in either file of thrift/.
template <typename Generated>
std::vector<StatePlan> states_from(const std::vector<Generated>& said) {
  std::vector<StatePlan> states;
  for (const Generated& state : said) states.push_back({state.name, state.layout, state.of, state.reads});
  return states;
}
template <typename Generated>
JobPlan plan_from(const Generated& said) {
  JobPlan plan = {{}, said.needs_time, said.removes, said.levels, states_from(said.states), {}, {}};
  for (const auto& table : said.tables) {
    plan.tables.push_back(
        {table.name, static_cast<TableForm>(table.form), table.rank, table.rank_all, table.rank_size});
  }
  // As it was said while a job published one table.
  if (plan.tables.empty() && !said.values.empty()) {
    plan.tables.push_back({said.values, TableForm::kHash, said.rank, said.rank_all, said.rank_size});
  }
  for (const auto& output : said.outputs) plan.outputs.push_back({output.name, output.format, output.parts});
  if (said.event_delay_ms >= 0) plan.event_time = EventTimePlan{said.event_delay_ms, said.event_idle_ms};
  return plan;
}
template <typename Generated>
Generated plan_as(const JobPlan& plan) {
  Generated said;
  for (const TablePlan& table : plan.tables) {
    auto& entry = said.tables.emplace_back();
    entry.name = table.name;
    entry.form = static_cast<int8_t>(table.form);
    entry.rank = table.rank;
    entry.rank_all = table.rank_all;
    entry.rank_size = table.rank_size;
  }
  said.needs_time = plan.needs_time;
  said.removes = plan.removes;
  said.levels = plan.levels;
  for (const StatePlan& state : plan.states) {
    auto& entry = said.states.emplace_back();
    entry.name = state.name;
    entry.layout = state.layout;
    entry.of = state.of;
    entry.reads = state.reads;
  }
  for (const OutputPlan& output : plan.outputs) {
    auto& entry = said.outputs.emplace_back();
    entry.name = output.name;
    entry.format = output.format;
    entry.parts = output.parts;
  }
  said.event_delay_ms = plan.event_time ? plan.event_time->delay_ms : -1;
  said.event_idle_ms = plan.event_time ? plan.event_time->idle_ms : 0;
  return said;
}

}  // namespace millrace
