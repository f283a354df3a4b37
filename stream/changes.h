// Changes: what the newest batch has changed in a table, as the values that a level begins with (Table::changes). Owned
// by one lane and used by its thread only.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "stream/byte_table.h"
#include "stream/codec.h"
#include "stream/map_instance.h"
#include "stream/same_bytes.h"

namespace millrace {

// A key of a table that a batch has changed: its value before and after. None: the key was not there, is not there any
// more. One of the two is there.
template <typename K, typename V>
struct Change {
  K key;
  std::optional<V> before;
  std::optional<V> after;
  MILLRACE_FIELDS(Change, key, before, after)
};

namespace internal {

// A table that can tell what the newest batch did to it. `V`: what is shown of its cells.
template <typename V>
class Followed {
 public:
  struct Difference {
    std::string_view key;
    const V* before;  // none: it was not there
    const V* after;
  };

  virtual ~Followed() = default;
  // From the next batch on it notes what changes.
  virtual void follow() = 0;
  // The keys that the newest batch has touched, ascending as bytes; until the next batch.
  [[nodiscard]] virtual std::vector<ByteSlot> touched() const = 0;
  // Until forget_undo() of the newest batch.
  [[nodiscard]] virtual Difference difference(ByteSlot slot) const = 0;
};

// `F` makes what the table's readers see of its values. What is the same byte by byte has not changed.
template <typename K, typename V, typename Stored, typename F>
class ChangeSource final : public Origin<Change<K, V>>, public LevelSource {
 public:
  ChangeSource(Followed<Stored>& table, F function) : table_(table), function_(std::move(function)) { table_.follow(); }

  void begin_level() override {
    touched_ = table_.touched();
    next_ = 0;
  }
  bool give_next(Verdicts& verdicts) override {
    chunk_.clear();
    while (next_ != touched_.size() && chunk_.size() != kChunk) add(table_.difference(touched_[next_++]));
    if (chunk_.empty()) return false;
    verdicts.begin(chunk_.size());
    this->give(chunk_, std::span(kAscending).first(chunk_.size()), verdicts);
    return true;
  }

 private:
  void add(const typename Followed<Stored>::Difference& difference) {
    Change<K, V> change;
    if (difference.before != nullptr) change.before.emplace(function_(*difference.before));
    if (difference.after != nullptr) change.after.emplace(function_(*difference.after));
    if (!change.before && !change.after) return;
    if (change.before && change.after && same_(*change.before, *change.after)) return;
    CHECK(KeyText<K>::parse(difference.key, change.key)) << "a key's text must give the key";
    chunk_.push_back(std::move(change));
  }

  Followed<Stored>& table_;  // of the same state partition
  const F function_;
  SameBytes<V> same_;
  std::vector<ByteSlot> touched_;
  size_t next_ = 0;  // in touched_
  std::vector<Change<K, V>> chunk_;
};

}  // namespace internal
}  // namespace millrace
