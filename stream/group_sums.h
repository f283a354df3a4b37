// GroupSums: what stands behind Table::count_by and sum_by: per group how many keys of a table are in it, and the sum
// of what they bring. A group without keys goes.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "stream/changes.h"
#include "stream/sums.h"
#include "stream/versioned_table.h"

namespace millrace::internal {

// Of a group, or what is added to it. Both wrap, so that what was added is taken off again exactly.
struct GroupSum {
  int64_t keys;
  int64_t sum;
  MILLRACE_FIELDS(GroupSum, keys, sum)

  [[nodiscard]] std::string text() const { return text_of(sum); }
  [[nodiscard]] double score() const { return score_of(sum); }
};

struct AddGroupSum {
  void operator()(GroupSum& into, const GroupSum& from) const {
    WrappingSum()(into.keys, from.keys);
    WrappingSum()(into.sum, from.sum);
  }
};

template <>
struct ShownPart<GroupSum> {
  using type = int64_t;
  static const int64_t& of(const GroupSum& cell) { return cell.sum; }
};

// What a change of the table takes off one group and adds to another one; nothing where these are the same. `F`:
// std::pair<group, integer>(const K& key, const V& value).
template <typename K, typename V, typename F>
struct GroupChange {
  using Given = std::invoke_result_t<const F&, const K&, const V&>;
  using Output = std::pair<Owned<typename Given::first_type>, GroupSum>;

  F function;

  template <typename Emit>
  void operator()(const Change<K, V>& change, Emit& emit) const {
    std::optional<Output> leaves;
    std::optional<Output> comes;
    if (change.before) {
      leaves = group_of(change.key, *change.before);
      leaves->second = {-1, static_cast<int64_t>(-static_cast<uint64_t>(leaves->second.sum))};
    }
    if (change.after) comes = group_of(change.key, *change.after);
    if (leaves && comes && leaves->first == comes->first) {
      AddGroupSum()(comes->second, leaves->second);
      leaves.reset();
    }
    if (leaves) emit(*std::move(leaves));
    if (comes && comes->second != GroupSum{0, 0}) emit(*std::move(comes));
  }

 private:
  Output group_of(const K& key, const V& value) const {
    const auto given = std::invoke(function, key, value);
    return {typename Output::first_type(given.first), GroupSum{1, static_cast<int64_t>(given.second)}};
  }
};

template <typename F, typename K, typename V>
concept GivesGroupAndInteger = std::integral<typename std::invoke_result_t<const F&, const K&, const V&>::second_type>;

extern template class VersionedTable<GroupSum>;

class GroupSumTable final : public VersionedTable<GroupSum> {
 public:
  using VersionedTable::VersionedTable;
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override;

 private:
  void add(const HashedKey& key, const GroupSum& sum);
};

}  // namespace millrace::internal
