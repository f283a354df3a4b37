// UpdateTable: per key a state that a function makes of the one before and of the batch's values (update_state_by_key).
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "stream/pair_section.h"
#include "stream/same_bytes.h"
#include "stream/versioned_table.h"

namespace millrace {

// A batch's time, as functions are given it.
using BatchTime = std::chrono::sys_time<std::chrono::milliseconds>;

namespace internal {

// Calls a user's function of (key?, values, state, time?).
template <typename K, typename V, typename S, typename F>
struct StateFunction {
  using Values = std::span<const V>;
  using State = std::optional<S>;
  static constexpr bool kPlain = std::is_invocable_r_v<State, F&, Values, State>;
  static constexpr bool kTimed = std::is_invocable_r_v<State, F&, Values, State, BatchTime>;
  static constexpr bool kKeyed = std::is_invocable_r_v<State, F&, const K&, Values, State>;
  static constexpr bool kKeyedAndTimed = std::is_invocable_r_v<State, F&, const K&, Values, State, BatchTime>;
  static constexpr bool kValid = kPlain || kTimed || kKeyed || kKeyedAndTimed;

  F function;

  State operator()(std::string_view key_text, Values values, State state, BatchTime time) {
    if constexpr (kPlain) {
      return function(values, std::move(state));
    } else if constexpr (kTimed) {
      return function(values, std::move(state), time);
    } else {
      K key{};
      CHECK(KeyText<K>::parse(key_text, key)) << "a key's text must give the key";
      if constexpr (kKeyed) {
        return function(std::as_const(key), values, std::move(state));
      } else {
        return function(std::as_const(key), values, std::move(state), time);
      }
    }
  }
};

// What such a function has to be; false: as require_codec.
template <typename K, typename V, typename S, typename F>
consteval bool check_update() {
  constexpr bool kValid = StateFunction<K, V, S, F>::kValid;
  static_assert(kValid,
                "millrace: update_state_by_key<S>() needs a function std::optional<S>(const K& key, "
                "std::span<const V> values, std::optional<S> state, millrace::BatchTime time); the key and the time "
                "may be left out");
  return require_key<K>() && require_codec<V>() && require_codec<S>() && kValid;
}

// Keys with values are updated in each batch; all others at ticks, if so wanted.
template <typename V, typename S, typename Function>
class UpdateTable final : public VersionedTable<S> {
 public:
  UpdateTable(size_t rank_size, bool only_changed, Function function)
      : VersionedTable<S>(rank_size), only_changed_(only_changed), function_(std::move(function)) {}

  void count_steps(CallSteps& steps) override { steps_ = &steps; }

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    this->begin_batch(context.batch);
    Groups groups;
    Status status = read_sections<V>(
        context.batch, sections, [](const HashedKey&) {},
        [&](const HashedKey& key, V& value) { groups.add(key, std::move(value)); });
    if (!status) return status;
    const BatchTime time{std::chrono::milliseconds(context.time_ms)};
    groups.for_each([&](std::string_view key, std::span<const V> values) {
      const ByteSlot slot = this->open(HashedKey::of(key));
      update(slot, values, time);
    });
    if (context.tick && !only_changed_) {
      this->for_each_live([&](ByteSlot slot) {
        if (!groups.contains(this->key(slot))) update(slot, {}, time);
      });
    }
    this->end_batch();
    return {};
  }

 private:
  // The values of a batch by key; keys lie in the batch's sections.
  class Groups {
   public:
    void add(const HashedKey& key, V&& value) {
      const auto [slot, inserted] = numbers_.find_or_insert(key, [this] { numbers_.rebuild(); });
      if (inserted) {
        numbers_.value(slot) = static_cast<uint32_t>(groups_.size());
        groups_.push_back({key.bytes, 0});
      }
      const uint32_t group = numbers_.value(slot);
      ++groups_[group].size;
      values_.push_back({group, std::move(value)});
    }
    [[nodiscard]] bool contains(std::string_view key) const { return numbers_.find(HashedKey::of(key)) != kNoByteSlot; }
    template <typename Take>
    void for_each(Take&& take) {
      std::vector<size_t> next(groups_.size());
      for (size_t group = 1; group < groups_.size(); ++group) next[group] = next[group - 1] + groups_[group - 1].size;
      const auto sorted = std::make_unique<V[]>(values_.size());  // no std::vector: there is none of bools
      for (Value& each : values_) sorted[next[each.group]++] = std::move(each.value);
      for (size_t group = 0; group < groups_.size(); ++group) {
        const size_t size = groups_[group].size;
        take(groups_[group].key, std::span<const V>(sorted.get() + next[group] - size, size));
      }
    }

   private:
    struct Group {
      std::string_view key;
      size_t size;
    };
    struct Value {
      uint32_t group;
      V value;
    };
    ByteTable<uint32_t> numbers_;
    std::vector<Group> groups_;
    std::vector<Value> values_;  // in the order of the sections
  };

  void update(ByteSlot slot, std::span<const V> values, BatchTime time) {
    if (steps_ != nullptr) steps_->step();
    std::optional<S> before;
    if (this->live(slot)) before = this->value(slot);
    std::optional<S> after;
    try {
      after = function_(this->key(slot), values, std::move(before), time);
    } catch (...) {
      this->key_thrown_at = this->key(slot);
      throw;
    }
    if (!after) {
      this->remove(slot);
    } else if (!this->live(slot) || !same_(this->value(slot), *after)) {
      this->set(slot, *std::move(after));
    }
  }

  const bool only_changed_;
  Function function_;
  SameBytes<S> same_;
  CallSteps* steps_ = nullptr;  // none: nobody looks
};

}  // namespace internal
}  // namespace millrace
