// WindowTable: what stands behind stream.window(length, slide).
//
// Time is cut into panes as wide as the greatest common divisor of length and slide, named by their ends: a batch
// belongs to the pane in which its time lies, the end included. A window ends at a multiple of the slide and covers the
// panes of its length before. When a tick comes to that time or passes it, the window is evaluated: panes come in,
// panes go, and the keys that this touches are shown anew. The table's values (the view) are those of the newest window
// that was evaluated, and change with the next one only.
//
// Per key the panes that are not yet behind the window, in order of time: first those in the window, then those to
// come. So a window costs what its keys that come and go cost, whatever its length.
//
// In checkpoints: an entry per pane and key, and removals of those that have gone since; the view is made anew of them.
//
//   end of the pane (8 bytes, big endian, ms), key -> Codec<Pane>     ; for kZero also an entry with end 0 and the
//   end of the key's first pane
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "stream/pair_section.h"
#include "stream/sums.h"
#include "stream/versioned_table.h"
#include "stream/window_aggregate.h"
#include "stream/window_size.h"

namespace millrace::internal {

// The key of a pane in a checkpoint.
void append_pane_key(std::string& out, int64_t end_ms, std::string_view key);
// False: it is none.
bool take_pane_key(std::string_view text, int64_t& end_ms, std::string_view& key);

// Keys of panes that have gone.
class PaneKeys {
 public:
  void add(int64_t end_ms, std::string_view key);
  void add(const PaneKeys& other);
  void write_removed(StatePartition self, StateRun& run) const;
  [[nodiscard]] size_t memory_bytes() const { return bytes_.capacity() + sizes_.capacity() * sizeof(uint32_t); }

 private:
  std::string bytes_;
  std::vector<uint32_t> sizes_;
};

template <typename Kind>
class WindowTable final : public VersionedTable<typename Kind::View, false> {
  using Value = typename Kind::Value;
  using View = typename Kind::View;
  using PaneValue = typename Kind::Pane;
  using Shown = VersionedTable<View, false>;
  using KeyNumber = uint32_t;

 public:
  WindowTable(size_t rank_size, WindowSize size, Kind kind) : Shown(rank_size), size_(size), kind_(std::move(kind)) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    this->begin_batch(context.batch);
    panes_changed_ = false;
    const int64_t end_ms = size_.pane_end(context.time_ms);
    Status status = read_sections<Value>(
        context.batch, sections, [this](const HashedKey& key) { numbers_.prefetch(key.hash); },
        [&](const HashedKey& key, Value& value) { add(number_of(key), end_ms, value); });
    if (!status) return status;
    const int64_t window_ms = size_.window_end(context.time_ms);
    if (context.tick && window_ms > evaluated_ms_) evaluate(window_ms, [this](KeyNumber number) { show(number); });
    this->end_batch();
    return {};
  }
  [[nodiscard]] std::string layout() const override {
    return "panes of " + std::to_string(size_.pane_ms()) + " ms: " + layout_of<PaneValue>();
  }
  [[nodiscard]] bool changed() const override { return panes_changed_ || Shown::changed(); }

  void freeze(StatePartition self, StateRun& run) override {
    CHECK(!freeze_open_) << "a freeze is open already";
    freeze_open_ = true;
    frozen_.swap(changed_);
    frozen_gone_ = std::exchange(gone_, {});
    std::string pane_key;
    std::string encoded;
    for (const Change& change : frozen_) {
      Keyed& keyed = keys_[change.number];
      encoded.clear();
      if (change.end_ms == 0) {
        encode(encoded, keyed.since_ms);
      } else {
        Pane<PaneValue>* pane = find_pane(keyed, change.end_ms);
        if (pane == nullptr || !pane->changed) continue;  // It has gone since.
        pane->changed = false;
        pane->written = true;
        encode(encoded, pane->value);
      }
      pane_key.clear();
      append_pane_key(pane_key, change.end_ms, numbers_.key(keyed.slot));
      run.add(self, pane_key, encoded);
    }
    frozen_gone_.write_removed(self, run);
  }
  void settle_freeze(bool complete) override {
    freeze_open_ = false;
    if (!complete) {
      for (const Change& change : frozen_) {
        if (change.end_ms == 0) {
          changed_.push_back(change);
        } else if (Pane<PaneValue>* pane = find_pane(keys_[change.number], change.end_ms); pane != nullptr) {
          note_change(change.number, *pane);
        }
      }
      gone_.add(frozen_gone_);
    }
    std::vector<Change>().swap(frozen_);
    frozen_gone_ = {};
  }

  Status restore_from(const std::vector<StatePlan>& /*stored*/) override {
    restored_is_changed_ = true;
    return {};
  }
  Status restore(const StateRun::Entry& entry, bool /*unpublished*/) override {
    int64_t end_ms = 0;
    std::string_view key;
    if (!take_pane_key(entry.key, end_ms, key)) return unreadable_value(entry);
    const KeyNumber number = number_of(HashedKey::of(key));
    if (end_ms == 0) {
      const bool changed = Kind::kZero && restored_is_changed_ && keys_[number].since_ms == 0;
      if (changed) changed_.push_back({number, 0});
      return decode(entry, keys_[number].since_ms);
    }
    auto& panes = keys_[number].panes;
    auto at = std::ranges::lower_bound(panes, end_ms, {}, &Pane<PaneValue>::end_ms);
    const bool there = at != panes.end() && at->end_ms == end_ms;
    if (entry.removed) {
      if (there) panes.erase(at);
      return {};
    }
    if (!there) at = panes.insert(at, Pane<PaneValue>{end_ms, PaneValue{}});
    at->written = !restored_is_changed_;
    if (restored_is_changed_) note_change(number, *at);
    return decode(entry, at->value);
  }

  void finish_restore(int64_t tick_ms) override {
    for (KeyNumber number = 0; number < keys_.size(); ++number) {
      for (const Pane<PaneValue>& pane : keys_[number].panes) keys_of_panes_[pane.end_ms].push_back(number);
      panes_ += keys_[number].panes.size();
      touch(number);
    }
    const int64_t window_ms = size_.window_end(tick_ms);
    evaluate(window_ms, [&](KeyNumber number) {
      const Keyed& keyed = keys_[number];
      if (keyed.entered == 0 && (!Kind::kZero || keyed.since_ms > window_ms)) return;
      View view{};
      if (keyed.entered != 0 && !kind_.show(keyed.aggregate, in_window(keyed), view)) return;
      this->set_restored(this->open(HashedKey::of(numbers_.key(keyed.slot))), std::move(view));
    });
  }

  [[nodiscard]] int64_t memory_bytes() const override {
    size_t bytes = numbers_.memory_bytes() + keys_.capacity() * sizeof(Keyed) + gone_.memory_bytes() +
                   frozen_gone_.memory_bytes() + (changed_.capacity() + frozen_.capacity()) * sizeof(Change);
    bytes +=
        panes_ * (sizeof(KeyNumber) + sizeof(Pane<PaneValue>));  // not by walking all of them: it is asked for often
    return static_cast<int64_t>(bytes) + Shown::memory_bytes();
  }

 private:
  struct Keyed {
    ByteSlot slot;         // in numbers_
    uint32_t first = 0;    // of the panes that have not gone
    uint32_t entered = 0;  // so many of them are in the window
    bool touched = false;  // stands in touched_
    int64_t since_ms = 0;  // for kZero: the end of its first pane
    std::vector<Pane<PaneValue>> panes;
    [[no_unique_address]] typename Kind::Aggregate aggregate{};
  };
  struct Change {
    KeyNumber number;
    int64_t end_ms;
  };

  template <typename T>
  static void encode(std::string& into, const T& value) {
    into.resize(Codec<T>::size(value));
    Codec<T>::encode(into.data(), value);
  }
  template <typename T>
  static Status decode(const StateRun::Entry& entry, T& value) {
    const char* at = entry.value.data();
    const char* end = at + entry.value.size();
    if (!Codec<T>::decode(at, end, value) || at != end) return unreadable_value(entry);
    return {};
  }

  static std::span<const Pane<PaneValue>> in_window(const Keyed& keyed) {
    return std::span(keyed.panes).subspan(keyed.first, keyed.entered);
  }
  static Pane<PaneValue>* find_pane(Keyed& keyed, int64_t end_ms) {
    const auto from = keyed.panes.begin() + std::min<ptrdiff_t>(keyed.first, std::ssize(keyed.panes));
    const auto at = std::lower_bound(from, keyed.panes.end(), end_ms,
                                     [](const Pane<PaneValue>& pane, int64_t end) { return pane.end_ms < end; });
    return at != keyed.panes.end() && at->end_ms == end_ms ? &*at : nullptr;
  }

  // The key's place in keys_, a new one where it has none.
  KeyNumber number_of(const HashedKey& key) {
    const ByteSlot slot = numbers_.find_or_insert(key, [this] { rebuild_numbers(); }).slot;
    if (numbers_.value(slot) != 0) return numbers_.value(slot) - 1;
    KeyNumber number = 0;
    if (free_.empty()) {
      number = static_cast<KeyNumber>(keys_.size());
      keys_.emplace_back();
    } else {
      number = free_.back();
      free_.pop_back();
    }
    keys_[number].slot = slot;
    numbers_.value(slot) = number + 1;
    return number;
  }
  void rebuild_numbers() {
    const std::vector<ByteSlot> moved = numbers_.rebuild([this](ByteSlot slot) { return numbers_.value(slot) != 0; });
    for (Keyed& keyed : keys_) {
      if (keyed.slot != kNoByteSlot) keyed.slot = moved[keyed.slot];
    }
  }
  void free(KeyNumber number) {
    numbers_.value(keys_[number].slot) = 0;
    keys_[number] = {};
    keys_[number].slot = kNoByteSlot;
    free_.push_back(number);
  }

  void add(KeyNumber number, int64_t end_ms, Value& value) {
    auto& panes = keys_[number].panes;
    if (panes.size() > keys_[number].first && panes.back().end_ms == end_ms) {
      kind_.add(panes.back().value, value);
    } else {
      panes.push_back({end_ms, PaneValue{}});
      kind_.begin(panes.back().value, value);
      keys_of_panes_[end_ms].push_back(number);
      ++panes_;
      if (Kind::kZero && keys_[number].since_ms == 0) {
        keys_[number].since_ms = end_ms;
        changed_.push_back({number, 0});
      }
    }
    note_change(number, panes.back());
    panes_changed_ = true;
  }
  void note_change(KeyNumber number, Pane<PaneValue>& pane) {
    if (pane.changed) return;
    pane.changed = true;
    changed_.push_back({number, pane.end_ms});
  }

  template <typename Show>
  void evaluate(int64_t window_ms, Show&& show_key) {
    const int64_t left_ms = window_ms - size_.length_ms;
    while (!keys_of_panes_.empty() && keys_of_panes_.begin()->first <= left_ms) {
      for (const KeyNumber number : keys_of_panes_.begin()->second) {
        leave(keys_[number], left_ms);
        touch(number);
      }
      panes_ -= keys_of_panes_.begin()->second.size();
      keys_of_panes_.erase(keys_of_panes_.begin());
      panes_changed_ = true;
    }
    for (auto at = keys_of_panes_.upper_bound(evaluated_ms_); at != keys_of_panes_.end() && at->first <= window_ms;
         ++at) {
      for (const KeyNumber number : at->second) {
        enter(keys_[number], window_ms);
        touch(number);
      }
    }
    for (const KeyNumber number : touched_) {
      keys_[number].touched = false;
      show_key(number);
      if (keys_[number].panes.empty() && !Kind::kZero) free(number);
    }
    touched_.clear();
    evaluated_ms_ = window_ms;
  }
  void touch(KeyNumber number) {
    if (std::exchange(keys_[number].touched, true)) return;
    touched_.push_back(number);
  }
  void enter(Keyed& keyed, int64_t window_ms) {
    while (keyed.first + keyed.entered < keyed.panes.size() &&
           keyed.panes[keyed.first + keyed.entered].end_ms <= window_ms) {
      ++keyed.entered;
      kind_.enter(keyed.aggregate, in_window(keyed));
    }
  }
  void leave(Keyed& keyed, int64_t left_ms) {
    while (keyed.first < keyed.panes.size() && keyed.panes[keyed.first].end_ms <= left_ms) {
      Pane<PaneValue>& pane = keyed.panes[keyed.first];
      if (keyed.entered != 0) {
        kind_.leave(keyed.aggregate, in_window(keyed));
        --keyed.entered;
      }
      if (pane.written) gone_.add(pane.end_ms, numbers_.key(keyed.slot));
      if constexpr (!std::is_trivially_copyable_v<PaneValue>) pane.value = PaneValue{};
      ++keyed.first;
    }
    if (2 * size_t{keyed.first} >= keyed.panes.size()) {
      keyed.panes.erase(keyed.panes.begin(), keyed.panes.begin() + keyed.first);
      keyed.first = 0;
    }
  }

  void show(KeyNumber number) {
    const Keyed& keyed = keys_[number];
    const HashedKey key = HashedKey::of(numbers_.key(keyed.slot));
    bool shown = Kind::kZero;
    if (keyed.entered != 0) {
      shown = kind_.show(keyed.aggregate, in_window(keyed), shown_);
    } else if constexpr (Kind::kZero) {
      shown_ = View{};
    }
    if (!shown) {
      if (const ByteSlot slot = this->find(key); slot != kNoByteSlot) this->remove(slot);
      return;
    }
    const ByteSlot slot = this->open(key);
    if constexpr (std::is_integral_v<View>) {
      if (this->live(slot) && this->value(slot) == shown_) return;
    }
    this->set(slot, View(shown_));
  }

  const WindowSize size_;
  [[no_unique_address]] const Kind kind_;
  ByteTable<KeyNumber> numbers_;  // one more than the place in keys_; 0: it has none now
  std::vector<Keyed> keys_;
  std::vector<KeyNumber> free_;
  size_t panes_ = 0;                                         // that have not gone
  std::map<int64_t, std::vector<KeyNumber>> keys_of_panes_;  // by their ends; of all panes that have not gone
  int64_t evaluated_ms_ = 0;                                 // the end of the newest window that was evaluated
  bool panes_changed_ = false;                               // by the newest batch
  bool restored_is_changed_ = false;
  bool freeze_open_ = false;
  std::vector<Change> changed_, frozen_;  // since the last freeze, of the open one; some of them may have gone
  PaneKeys gone_, frozen_gone_;           // what a checkpoint may hold of panes that have gone
  std::vector<KeyNumber> touched_;        // by the window that is being evaluated
  View shown_{};                          // a buffer
};

// Of counts; compiled once, in window_table.cc.
template <bool kShowsZero>
using CountWindow =
    InverseWindow<int64_t, MergeInto<int64_t, WrappingSum>, MergeInto<int64_t, WrappingDifference>, kShowsZero>;
extern template class VersionedTable<int64_t, false>;
extern template class WindowTable<CountWindow<false>>;
extern template class WindowTable<CountWindow<true>>;

}  // namespace millrace::internal
