// Joins of two streams within a time to live: what Stream::join() and its kin add to the graph.
#pragma once

#include <memory>
#include <utility>

#include "stream/cogroup.h"
#include "stream/graph.h"
#include "stream/join_table.h"
#include "stream/state_options.h"

namespace millrace {

template <typename T, typename In, typename Chain>
class Stream;

namespace internal {

// A friend of Stream. What `kLeftMayMiss` may miss is the left value of what is joined.
template <bool kLeftMayMiss, bool kRightMayMiss>
struct JoinStreams {
  template <typename T, typename In, typename Chain, typename U, typename OtherIn, typename OtherChain>
  static auto of(const Stream<T, In, Chain>& left, const Stream<U, OtherIn, OtherChain>& right, JoinOptions options,
                 const char* operator_name) {
    if constexpr (require_join<T, U>()) {
      using J = Joining<T, U>;
      using Table = JoinTable<typename J::Left, typename J::Right>;
      using Source = JoinSource<typename J::Key, typename J::Left, typename J::Right, kLeftMayMiss, kRightMayMiss>;
      using Next = typename Source::Value;
      Graph& graph = *left.graph_;
      const int64_t time_to_live_ms = graph.live_for(options.time_to_live);
      const auto both = as_left<T, U>(left).union_with(as_right<T, U>(right));
      both.template close<typename J::Value>();
      const StateId state = graph.add_state(
          options.name.empty() ? operator_name : options.name, layout_of<typename J::Key>(),
          what_lives(operator_name, time_to_live_ms),
          [time_to_live_ms](size_t) { return make_state<Table>(time_to_live_ms, kRightMayMiss, kLeftMayMiss); });
      const NodeId node = graph.add_source(
          state,
          [state](MapInstance& instance) {
            instance.add_level_source(instance.make<Source>(static_cast<Table&>(instance.state(state))));
          },
          Graph::Gives::kOther, "");
      return Stream<Next, Next, BeginStage<Next>>(left.graph_, node);
    }
  }
};

}  // namespace internal
}  // namespace millrace
