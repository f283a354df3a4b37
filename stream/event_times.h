// EventTimes: the node that gives each value its event time (Stream::event_time). Owned by one lane and used by its
// thread only.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "stream/collected.h"
#include "stream/event_key.h"
#include "stream/event_scope.h"
#include "stream/graph.h"
#include "stream/map_instance.h"

namespace millrace::internal {

// A Collector writes its values there, with their times and nothing else.
template <typename T>
class EventTimes final : public Origin<Stamped<T>> {
 public:
  using Branch = typename Collected<Stamped<T>>::Branch;

  // What is more than `ahead_ms` later than its batch is refused, 0: nothing.
  EventTimes(EventScope& scope, int64_t ahead_ms) : scope_(scope), ahead_ms_(ahead_ms) {}

  Branch& branch() { return branch_; }

  void end_chunk(Verdicts& verdicts) override {
    for (size_t i = 0; i < branch_.values.size(); ++i) {
      const uint32_t record = branch_.records[i];
      if (ahead_ms_ != 0 && branch_.values[i].time_ms - ahead_ms_ > scope_.times.batch_ms) {
        verdicts.refuse(record, too_far_ahead(branch_.values[i].time_ms, scope_.times.batch_ms, ahead_ms_));
      }
      branch_.values[i].watermark_ms = scope_.times.watermark_ms;
      branch_.values[i].late = &late_[record];
      greatest_ms_[record] = std::max(greatest_ms_[record], branch_.values[i].time_ms);
    }
    this->give(branch_.values, branch_.records, verdicts);
  }

  void commit(const Verdicts& verdicts) override {
    for (const uint32_t record : branch_.records) {
      if (!verdicts.refused(record)) {
        scope_.greatest_ms = std::max(scope_.greatest_ms, greatest_ms_[record]);
        if (late_[record]) ++scope_.late;
      }
      greatest_ms_[record] = 0;
      late_[record] = false;
    }
    branch_.values.clear();
    branch_.records.clear();
  }

  void clear() override {
    branch_.values.clear();
    branch_.records.clear();
    greatest_ms_.fill(0);
    late_.fill(false);
  }

 private:
  EventScope& scope_;  // of the same map task
  const int64_t ahead_ms_;
  Branch branch_;
  std::array<int64_t, kChunk> greatest_ms_{};  // of each record of the chunk
  std::array<bool, kChunk> late_{};
};

// Behind a chain that gives Stamped<T>, of which only value and time are said.
template <typename In, typename T, typename Stage>
NodeId add_event_times(Graph& graph, NodeId origin, Stage stage, int64_t ahead_ms, Graph::Traits traits,
                       std::string operators) {
  const NodeId node = graph.add_node(
      origin, [ahead_ms](MapInstance& instance) { instance.make<EventTimes<T>>(instance.event_scope(), ahead_ms); }, {},
      "");
  const NodeId feed = graph.add_node(
      origin,
      [origin, node, stage = std::move(stage)](MapInstance& instance) {
        auto& into = static_cast<EventTimes<T>&>(instance.node(node)).branch();
        instance.origin<In>(origin).attach(instance.make<Collector<In, Stage, Stamped<T>>>(stage, into));
      },
      traits, std::move(operators));
  graph.add_feed(node, feed);
  return node;
}

}  // namespace millrace::internal
