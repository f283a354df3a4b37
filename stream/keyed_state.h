// Running aggregations: per key all values since the start, folded.
//
//   KeyedStateTable      keys stay
//   ExpiringStateTable   a key goes when it had no input for so long (by batch time)
//
// A Fold says how. It has the types Value (of the pairs) and State, and
//
//   void begin(State& into, Value& first)        the first value of a key
//   void add(State& into, const Value& value)    every other one
//   kFirstStays                                  add() does nothing
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "stream/due_queue.h"
#include "stream/pair_section.h"
#include "stream/sums.h"
#include "stream/versioned_table.h"

namespace millrace::internal {

// `Merge`: void(V& into, const V& from), associative; commutative too where the edge combines.
template <typename V, typename Merge>
struct ReduceFold {
  using Value = V;
  using State = V;
  static constexpr bool kFirstStays = false;
  [[no_unique_address]] Merge merge;

  void begin(V& into, V& first) const { into = std::move(first); }
  void add(V& into, const V& value) const { merge(into, value); }
};

// `Create`: S(const V&). `Add`: void(S& into, const V&).
template <typename V, typename S, typename Create, typename Add>
struct CombineFold {
  using Value = V;
  using State = S;
  static constexpr bool kFirstStays = false;
  [[no_unique_address]] Create create;
  [[no_unique_address]] Add add_value;

  void begin(S& into, const V& first) const { into = create(first); }
  void add(S& into, const V& value) const { add_value(into, value); }
};

// That a key was there.
struct FirstFold {
  using Value = int64_t;
  using State = int64_t;
  static constexpr bool kFirstStays = true;

  static void begin(int64_t& into, int64_t first) { into = first; }
  static void add(int64_t&, int64_t) {}
};

template <typename Fold>
class KeyedStateTable final : public VersionedTable<typename Fold::State> {
  using Value = typename Fold::Value;
  using State = typename Fold::State;

 public:
  explicit KeyedStateTable(size_t rank_size, Fold fold = {})
      : VersionedTable<State>(rank_size), fold_(std::move(fold)) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    this->begin_batch(context.batch);
    Status status = read_sections<Value>(
        context.batch, sections, [this](const HashedKey& key) { this->prefetch(key); },
        [this](const HashedKey& key, Value& value) { add(key, value); });
    if (status) this->end_batch();
    return status;
  }

 private:
  // Flattened, as in stream/pair_edge.h.
  [[gnu::noinline, gnu::flatten]] void add(const HashedKey& key, Value& value) {
    const ByteSlot slot = this->open(key);
    if constexpr (Fold::kFirstStays) {
      if (this->live(slot)) return;
    }
    this->change(slot, [&](State& state, bool fresh) {
      if (fresh) {
        fold_.begin(state, value);
      } else {
        fold_.add(state, value);
      }
    });
  }

  [[no_unique_address]] const Fold fold_;
};

// A value, and when its key had input last.
template <typename V>
struct Timed {
  V value;
  int64_t touched_ms;
  MILLRACE_FIELDS(Timed, value, touched_ms)

  [[nodiscard]] std::string text() const
    requires kTextual<V>
  {
    return text_of(value);
  }
  [[nodiscard]] double score() const { return score_of(value); }
};

template <typename V>
struct ShownPart<Timed<V>> {
  using type = V;
  static const V& of(const Timed<V>& cell) { return cell.value; }
};

// Each live cell stands in the queue once, at the time that it had when it was put there; when that comes, the cell is
// removed, or put back if it was touched since.
template <typename Fold>
class ExpiringStateTable final : public VersionedTable<Timed<typename Fold::State>> {
  using Value = typename Fold::Value;
  using Cell = Timed<typename Fold::State>;

 public:
  ExpiringStateTable(size_t rank_size, int64_t time_to_live_ms, Fold fold = {})
      : VersionedTable<Cell>(rank_size), fold_(std::move(fold)), time_to_live_ms_(time_to_live_ms) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    this->begin_batch(context.batch);
    Status status = read_sections<Value>(
        context.batch, sections, [this](const HashedKey& key) { this->prefetch(key); },
        [&](const HashedKey& key, Value& value) { add(key, value, context.time_ms); });
    if (!status) return status;
    if (context.tick) expire(context.time_ms);
    this->end_batch();
    return {};
  }

  void finish_restore(int64_t /*tick_ms*/) override {
    this->for_each_live([this](ByteSlot slot) { due_.add(due_of(slot), slot); });
  }
  [[nodiscard]] std::string layout() const override { return layout_of<typename Fold::State>().append(kTouchedLayout); }

 private:
  void add(const HashedKey& key, Value& value, int64_t time_ms) {
    const ByteSlot slot = this->open(key);
    const bool fresh = !this->live(slot);
    if constexpr (Fold::kFirstStays) {
      if (!fresh && this->value(slot).touched_ms == time_ms) return;
    }
    this->change(slot, [&](Cell& cell, bool) {
      if (fresh) {
        fold_.begin(cell.value, value);
      } else {
        fold_.add(cell.value, value);
      }
      cell.touched_ms = time_ms;
    });
    if (fresh) due_.add(due_of(slot), slot);
  }

  void expire(int64_t now_ms) {
    due_.take_due(now_ms, [&](ByteSlot slot) {
      if (due_of(slot) <= now_ms) {
        this->remove(slot);
      } else {
        due_.add(due_of(slot), slot);
      }
    });
  }

  [[nodiscard]] int64_t due_of(ByteSlot slot) const { return this->value(slot).touched_ms + time_to_live_ms_; }
  void slots_moved(std::span<const ByteSlot> moved) override { due_.remap(moved); }

  [[no_unique_address]] const Fold fold_;
  const int64_t time_to_live_ms_;
  DueQueue due_;
};

// What counts; compiled once, in keyed_state.cc.
using CountFold = ReduceFold<int64_t, MergeInto<int64_t, SaturatingSum>>;
extern template class VersionedTable<int64_t>;
extern template class VersionedTable<Timed<int64_t>>;
extern template class KeyedStateTable<CountFold>;
extern template class ExpiringStateTable<CountFold>;

}  // namespace millrace::internal
