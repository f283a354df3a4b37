// JoinTable: what stands behind left.join(right, JoinOptions{time_to_live}): per key the values of both streams that
// may still find partners, and what the newest batch has joined of them, which JoinSource gives to the next level.
// Owned by one lane and used by its thread only.
//
// Two values are partners where their times, those of the batches that brought them, are at most a time to live apart.
// A value goes at the end of the first tick that is so much later than it. Its age is looked at all the same, since
// time may have passed without a tick.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "stream/cogroup.h"
#include "stream/due_queue.h"
#include "stream/map_instance.h"
#include "stream/pair_section.h"
#include "stream/versioned_table.h"

namespace millrace::internal {

template <typename V>
struct JoinEntry {
  int64_t time_ms;
  bool matched;  // it has had a partner
  V value;
  MILLRACE_FIELDS(JoinEntry, time_ms, matched, value)
};

// Each side in the order in which its values came.
template <typename V, typename W>
struct JoinState {
  std::vector<JoinEntry<V>> left;
  std::vector<JoinEntry<W>> right;
  MILLRACE_FIELDS(JoinState, left, right)
};

// Each live cell stands in the queue once, at the time when its oldest value goes.
template <typename V, typename W>
class JoinTable final : public VersionedTable<JoinState<V, W>, true, false> {
  using State = JoinState<V, W>;

 public:
  static constexpr size_t kMostJoined = 10'000'000;  // of a state partition in one batch

  struct Joined {
    std::string key;
    std::optional<V> left;
    std::optional<W> right;
  };

  // `keeps_left`, `keeps_right`: what finds no partner on the other side is given alone when its time is over.
  JoinTable(int64_t time_to_live_ms, bool keeps_left, bool keeps_right)
      : VersionedTable<State, true, false>(0),
        time_to_live_ms_(time_to_live_ms),
        keeps_left_(keeps_left),
        keeps_right_(keeps_right) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    this->begin_batch(context.batch);
    joined_ = {};  // a burst may have made it large
    Status status = read_sections<Either<V, W>>(
        context.batch, sections, [this](const HashedKey& key) { this->prefetch(key); },
        [&](const HashedKey& key, Either<V, W>& value) { add(key, value, context.time_ms); });
    if (!status) return status;
    if (context.tick) expire(context.time_ms);
    std::ranges::stable_sort(joined_, {}, &Joined::key);
    this->end_batch();
    return {};
  }

  void finish_restore(int64_t /*tick_ms*/) override {
    this->for_each_live([this](ByteSlot slot) { due_.add(due_of(slot), slot); });
  }

  // By the newest batch, ascending by key.
  [[nodiscard]] std::vector<Joined>& joined() { return joined_; }

 private:
  void add(const HashedKey& key, Either<V, W>& value, int64_t time_ms) {
    const ByteSlot slot = this->open(key);
    bool first = false;
    this->change(slot, [&](State& state, bool fresh) {
      first = fresh;
      if (fresh) state = {};
      if (value.first) {
        meet(JoinEntry<V>{time_ms, false, *std::move(value.first)}, state.left, state.right,
             [&](const V& left, const W& right) { joined_.push_back({std::string(key.bytes), left, right}); });
      }
      if (value.second) {
        meet(JoinEntry<W>{time_ms, false, *std::move(value.second)}, state.right, state.left,
             [&](const W& right, const V& left) { joined_.push_back({std::string(key.bytes), left, right}); });
      }
    });
    if (first) due_.add(due_of(slot), slot);
  }

  template <typename Own, typename Other, typename Join>
  void meet(Own comes, std::vector<Own>& own, std::vector<Other>& others, Join&& join) {
    for (Other& other : others) {
      if (other.time_ms + time_to_live_ms_ < comes.time_ms) continue;
      comes.matched = true;
      other.matched = true;
      join(comes.value, other.value);
      if (joined_.size() > kMostJoined) {
        throw std::length_error("the join gives more than " + std::to_string(kMostJoined) +
                                " pairs in one batch, the last ones for the key '" + joined_.back().key +
                                "'; filter what has no key of its own before the join");
      }
    }
    own.push_back(std::move(comes));
  }

  void expire(int64_t now_ms) {
    due_.take_due(now_ms, [&](ByteSlot slot) {
      this->change(slot, [&](State& state, bool) {
        leave(state.left, now_ms, keeps_left_,
              [&](V&& left) { joined_.push_back({std::string(this->key(slot)), std::move(left), std::nullopt}); });
        leave(state.right, now_ms, keeps_right_,
              [&](W&& right) { joined_.push_back({std::string(this->key(slot)), std::nullopt, std::move(right)}); });
      });
      if (const State& state = this->value(slot); state.left.empty() && state.right.empty()) {
        this->remove(slot);
      } else {
        due_.add(due_of(slot), slot);
      }
    });
  }
  template <typename Entry, typename Alone>
  void leave(std::vector<Entry>& entries, int64_t now_ms, bool keeps, Alone&& alone) {
    auto at = entries.begin();
    for (; at != entries.end() && at->time_ms + time_to_live_ms_ <= now_ms; ++at) {
      if (keeps && !at->matched) alone(std::move(at->value));
    }
    entries.erase(entries.begin(), at);
  }

  [[nodiscard]] int64_t due_of(ByteSlot slot) const {
    const State& state = this->value(slot);
    int64_t oldest_ms = std::numeric_limits<int64_t>::max() - time_to_live_ms_;
    if (!state.left.empty()) oldest_ms = state.left.front().time_ms;
    if (!state.right.empty()) oldest_ms = std::min(oldest_ms, state.right.front().time_ms);
    return oldest_ms + time_to_live_ms_;
  }
  void slots_moved(std::span<const ByteSlot> moved) override { due_.remap(moved); }

  const int64_t time_to_live_ms_;
  const bool keeps_left_, keeps_right_;
  DueQueue due_;
  std::vector<Joined> joined_;
};

// A side that `may` miss is an optional.
template <typename K, typename V, typename W, bool kLeftMayMiss, bool kRightMayMiss>
class JoinSource final : public Origin<std::pair<K, std::pair<std::conditional_t<kLeftMayMiss, std::optional<V>, V>,
                                                              std::conditional_t<kRightMayMiss, std::optional<W>, W>>>>,
                         public LevelSource {
 public:
  using Value = std::pair<K, std::pair<std::conditional_t<kLeftMayMiss, std::optional<V>, V>,
                                       std::conditional_t<kRightMayMiss, std::optional<W>, W>>>;

  explicit JoinSource(JoinTable<V, W>& table) : table_(table) {}

  void begin_level() override { next_ = 0; }
  bool give_next(Verdicts& verdicts) override {
    auto& joined = table_.joined();
    chunk_.clear();
    while (next_ != joined.size() && chunk_.size() != kChunk) add(joined[next_++]);
    if (chunk_.empty()) return false;
    verdicts.begin(chunk_.size());
    this->give(chunk_, std::span(kAscending).first(chunk_.size()), verdicts);
    return true;
  }

 private:
  void add(typename JoinTable<V, W>::Joined& joined) {
    auto& [key, sides] = chunk_.emplace_back();
    CHECK(KeyText<K>::parse(joined.key, key)) << "a key's text must give the key";
    take<kLeftMayMiss>(joined.left, sides.first);
    take<kRightMayMiss>(joined.right, sides.second);
  }
  template <bool kMayMiss, typename From, typename Into>
  static void take(std::optional<From>& from, Into& into) {
    if constexpr (kMayMiss) {
      into = std::move(from);
    } else {
      into = *std::move(from);
    }
  }

  JoinTable<V, W>& table_;  // of the same state partition
  size_t next_ = 0;         // in what it has joined
  std::vector<Value> chunk_;
};

}  // namespace millrace::internal
