// JobPlan: what the engine has to know of a job's code without running it. Whoever makes the job (the client for a
// library, the master for a built-in one) makes the plan; each executor compares it with that of its own job.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/model/watermark.h"

namespace millrace {

// Something that a job keeps from batch to batch.
struct StatePlan {
  std::string name;
  std::string layout;                   // of its entries in checkpoints, see stream/layout.h
  std::vector<std::string> of;          // states whose changes reach it
  std::vector<std::string> reads = {};  // former layouts whose entries the code can make its own of

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

struct JobPlan {
  static constexpr int32_t kMaxLevels = 16;

  std::string values;  // names of the outputs, as in SinkLayout
  std::string rank;
  bool rank_all = false;
  int64_t rank_size = 0;
  bool needs_time = false;
  bool removes = false;
  int32_t levels = 1;  // shuffles that stand one behind the other in a batch
  std::vector<StatePlan> states;
  std::vector<OutputPlan> outputs;  // what is appended
  std::optional<EventTimePlan> event_time;

  bool operator==(const JobPlan&) const = default;
};

// From and to what the Thrift compiler made of StatePlan and JobPlan in either file of thrift/.
template <typename Generated>
std::vector<StatePlan> states_from(const std::vector<Generated>& said) {
  std::vector<StatePlan> states;
  for (const Generated& state : said) states.push_back({state.name, state.layout, state.of, state.reads});
  return states;
}
template <typename Generated>
JobPlan plan_from(const Generated& said) {
  JobPlan plan = {said.values,
                  said.rank,
                  said.rank_all,
                  said.rank_size,
                  said.needs_time,
                  said.removes,
                  said.levels,
                  states_from(said.states),
                  {},
                  {}};
  for (const auto& output : said.outputs) plan.outputs.push_back({output.name, output.format, output.parts});
  if (said.event_delay_ms >= 0) plan.event_time = EventTimePlan{said.event_delay_ms, said.event_idle_ms};
  return plan;
}
template <typename Generated>
Generated plan_as(const JobPlan& plan) {
  Generated said;
  said.values = plan.values;
  said.rank = plan.rank;
  said.rank_all = plan.rank_all;
  said.rank_size = plan.rank_size;
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
