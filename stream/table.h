// Table: what stands behind an aggregation of a stream; see stream/stream.h.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "common/base/check.h"
#include "stream/chain.h"
#include "stream/changes.h"
#include "stream/codec.h"
#include "stream/graph.h"
#include "stream/group_sums.h"
#include "stream/layout.h"
#include "stream/migration.h"
#include "stream/show.h"

namespace millrace {

// Values of T that come from an origin of values of In through a chain.
template <typename T, typename In = Record, typename Chain = internal::BeginStage<Record>>
class Stream;

namespace internal {

// The table behind a stream of what groups gain and lose.
struct SumGroups {
  template <typename Gains>
  static auto of(const Gains& gains, const std::string& name) {
    gains.template close<GroupSum>(AddGroupSum());
    return gains.template state<int64_t>(name, "sum_by", "sum_by",
                                         [](size_t rank_size) { return make_state<GroupSumTable>(rank_size); });
  }
};

}  // namespace internal

// `Stored` and `F`: what the state holds, and what map_values() makes a V of.
template <typename K, typename V, typename Stored = V, typename F = std::identity>
class Table {
 public:
  // By the aggregations.
  Table(std::shared_ptr<internal::Graph> graph, internal::StateId state, F function = {},
        std::shared_ptr<const internal::AnyShow> show = nullptr)
      : graph_(std::move(graph)), state_(state), function_(std::move(function)), show_(std::move(show)) {}

  // Shows function(value) in place of each value. The function is called by several threads at once, when results are
  // published or asked for and where changes() are made, and throws nothing.
  template <typename G>
  auto map_values(G function) const {
    constexpr bool kFits = std::invocable<const G&, const V&>;
    static_assert(kFits,
                  "millrace: map_values() needs a function of the table's values that changes nothing of its own");
    if constexpr (kFits) {
      using U = std::decay_t<std::invoke_result_t<const G&, const V&>>;
      const auto both = [first = function_, second = std::move(function)](const Stored& value) {
        return std::invoke(second, std::invoke(first, value));
      };
      using Both = std::remove_const_t<decltype(both)>;
      std::unique_ptr<const internal::AnyShow> show(new internal::ShowMapped<Stored, Both>(both));
      return Table<K, U, Stored, Both>(graph_, state_, both, std::move(show));
    }
  }

  // What `millrace upgrade` makes of a state that former code kept under this name, with values of the type Old:
  // New(const Old&), or std::optional<New>(const Old&), where none drops the key. New is what the state holds, before
  // any map_values(). For running aggregations and update_state_by_key(); keys stay as they are, and there is a time to
  // live in both or in none. Once for each former type. The function is called by several threads at once, and for
  // values that were replaced since, too: checkpoints are read oldest first. An exception fails the upgraded job, whose
  // former version can go on.
  template <typename Old, typename G>
  Table migrate_from(G function) const {
    constexpr bool kFits = std::invocable<const G&, const Old&>;
    static_assert(kFits,
                  "millrace: migrate_from<Old>() needs a function of const Old& that changes nothing of its own");
    if constexpr (require_codec<Old>() && kFits) {
      using Given = std::decay_t<std::invoke_result_t<const G&, const Old&>>;
      constexpr bool kGives = std::same_as<Given, Stored> || std::same_as<Given, std::optional<Stored>>;
      static_assert(
          kGives, "millrace: the function of migrate_from<Old>() gives what the state holds, or a std::optional of it");
      if constexpr (!std::same_as<Given, Stored>) graph_->remove_keys();
      if constexpr (kGives) {
        graph_->migrate(state_, layout_of<Stored>(), layout_of<Old>(),
                        [function = std::move(function)](std::string_view value) {
                          return internal::migrate_value<Old, Stored>(function, value);
                        });
      }
    }
    return *this;
  }

  // What changes in the table, as a stream: in each batch one Change for each key whose value is not the same any more,
  // byte by byte; by state partitions, in each by the keys' bytes. How many there are depends on where batches were
  // cut: what is made of them should take `before` off and add `after`, as count_by and sum_by do. Of a window: its
  // merge must give the same bytes in any order. What follows is done behind another shuffle, where no record can be
  // refused: an exception fails the job.
  auto changes() const {
    using Next = Change<K, V>;
    internal::NodeId node{};
    if constexpr (require_codec<V>() && Keyable<K>) {
      graph_->check_changes(state_);
      node = graph_->add_source(
          state_,
          [state = state_, function = function_](internal::MapInstance& instance) {
            auto* const table = dynamic_cast<internal::Followed<Stored>*>(&instance.state(state));
            CHECK(table != nullptr) << "a table can tell what changes in it";
            instance.add_level_source(instance.make<internal::ChangeSource<K, V, Stored, F>>(*table, function));
          },
          internal::Graph::Gives::kChanges, "changes");
    }
    return Stream<Next, Next, internal::BeginStage<Next>>(graph_, node);
  }

  // How many of the table's keys are in each group: `function(key, value)` says in which. A key whose value says
  // another one, or that goes, is not counted in the old one any more; a group without keys is not there.
  template <typename By>
  auto count_by(By function, const std::string& name = "count_by") const {
    constexpr bool kFits = std::invocable<const By&, const K&, const V&>;
    static_assert(kFits, "millrace: count_by() needs a function of (key, value) to the group's key");
    if constexpr (kFits) {
      return sum_by(
          [function = std::move(function)](const K& key, const V& value) {
            return std::pair<Owned<std::invoke_result_t<const By&, const K&, const V&>>, int64_t>(
                std::invoke(function, key, value), 1);
          },
          name);
    }
  }
  // Per group the sum of what its keys bring: `function(key, value)` gives std::pair(group, integer). It wraps around
  // at the ends of int64, so that what has changed is taken off exactly.
  template <typename By>
  auto sum_by(By function, const std::string& name = "sum_by") const {
    constexpr bool kFits = internal::GivesGroupAndInteger<By, K, V>;
    static_assert(kFits,
                  "millrace: sum_by() needs a function of (key, value) to std::pair(group, integer); sums of "
                  "floating-point numbers depend on their order");
    if constexpr (kFits) {
      graph_->remove_keys();
      return internal::SumGroups::of(changes().flat_map(internal::GroupChange<K, V, By>{std::move(function)}), name);
    }
  }

  // Every key's value, in the sink as the HASH {JOB}:NAME, and for queries. TableForm::kStrings: as the STRING
  // {JOB}:NAME:KEY, too. An index has beside the hash its members: the ZSET {JOB}:NAME:KEY of each key.
  Table publish(std::string name, TableForm form = TableForm::kHash) const {
    static_assert(
        kTextual<V>,
        "millrace: publish() needs values that have a text. Give the type a member `std::string text() const`, or use "
        "map_values()");
    graph_->publish(state_, std::move(name), show_, form);
    return *this;
  }
  // The `size` highest by score (ties by the keys' bytes) as the ZSET {JOB}:NAME. Of a published table; the value is a
  // number or has a member `double score() const`.
  Table rank(std::string name, size_t size) const {
    static_assert(kHasScore, "millrace: rank() needs a number, or a value with a member `double score() const`");
    graph_->rank(state_, std::move(name), size, false, show_.get());
    return *this;
  }
  // Every key in the ZSET; `top` of queries are the first `size`.
  Table rank_all(std::string name, size_t size) const {
    static_assert(kHasScore, "millrace: rank() needs a number, or a value with a member `double score() const`");
    graph_->rank(state_, std::move(name), size, true, show_.get());
    return *this;
  }

 private:
  static constexpr bool kHasScore = HasScore<V> || std::is_arithmetic_v<V>;

  std::shared_ptr<internal::Graph> graph_;
  internal::StateId state_;
  [[no_unique_address]] F function_;
  std::shared_ptr<const internal::AnyShow> show_;  // none: the values as they are
};

}  // namespace millrace
