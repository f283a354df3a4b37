// What stands behind windows by event time, and what of them has become final, which ClosedSource gives to the next
// level. Owned by one lane and used by its thread only.
//
//   EventWindowTable   tumbling and sliding windows: a fold for each key and window, by WindowKey
//   SessionTable       per key its open sessions
//
// A batch's values come first, then what its watermark has passed is closed: given once, in order of the windows' ends
// and then of the keys' bytes. The watermark may leap over very many windows at once, so a batch closes a bounded part
// of them, and the next one goes on; what that is depends on the table and the watermark alone. At the end of time,
// when nothing comes any more, windows are closed and stay, for whoever looks at the table then.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/model/watermark.h"
#include "stream/event_key.h"
#include "stream/event_window.h"
#include "stream/final_queue.h"
#include "stream/map_instance.h"
#include "stream/pair_section.h"
#include "stream/versioned_table.h"

namespace millrace {

// A window that is final: [begin, end), where a session ends a gap after its last value.
template <typename K, typename V>
struct Closed {
  K key;
  int64_t begin_ms;
  int64_t end_ms;
  V value;
  MILLRACE_FIELDS(Closed, key, begin_ms, end_ms, value)
};

namespace internal {

// A table that can tell which of its windows the newest batch has closed. Their keys are texts.
template <typename V>
class Closing {
 public:
  virtual ~Closing() = default;
  // From the next batch on it notes them.
  void follow_closed(int32_t state_partitions) {
    followed_ = true;
    most_bytes_ = kMostBytes / static_cast<size_t>(state_partitions);
  }
  [[nodiscard]] const std::vector<Closed<std::string, V>>& closed() const { return closed_; }

 protected:
  // In one batch: of a state partition; and about so many bytes of all of them, since they go to others.
  static constexpr size_t kMostClosed = 20'000;
  static constexpr size_t kMostBytes = 32 << 20;

  [[nodiscard]] bool followed() const { return followed_; }
  void begin_closing() {
    closed_ = {};  // many may have come at once
    bytes_ = 0;
  }
  // The batch may close another one.
  [[nodiscard]] bool may_close() const { return closed_.size() < kMostClosed && bytes_ < most_bytes_; }
  void note_closed(std::string_view key, int64_t begin_ms, int64_t end_ms, const V& value) {
    bytes_ += key.size() + Codec<V>::size(value);
    closed_.push_back({std::string(key), begin_ms, end_ms, value});
  }

 private:
  bool followed_ = false;
  size_t most_bytes_ = kMostBytes;
  std::vector<Closed<std::string, V>> closed_;
  size_t bytes_ = 0;
};

// What a window has, and that closed() has given it.
template <typename V>
struct WindowCell {
  V value;
  bool closed;
  MILLRACE_FIELDS(WindowCell, value, closed)

  [[nodiscard]] std::string text() const
    requires kTextual<V>
  {
    return text_of(value);
  }
  [[nodiscard]] double score() const { return score_of(value); }
};

template <typename V>
struct ShownPart<WindowCell<V>> {
  using type = V;
  static const V& of(const WindowCell<V>& cell) { return cell.value; }
  static const V& of(const WindowCell<V>&& gone) = delete;
};

template <typename Fold>
class EventWindowTable final : public VersionedTable<WindowCell<typename Fold::State>>,
                               public Closing<typename Fold::State> {
  using Value = typename Fold::Value;
  using Cell = WindowCell<typename Fold::State>;

 public:
  static constexpr int64_t kForEver = std::numeric_limits<int64_t>::max();

  // `keep_ms`: how long a window stays behind its end.
  EventWindowTable(size_t rank_size, EventWindowSize size, int64_t keep_ms, Fold fold)
      : VersionedTable<Cell>(rank_size), size_(size), keep_ms_(keep_ms), fold_(std::move(fold)) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    this->begin_batch(context.batch);
    this->begin_closing();
    Status status = read_sections<Value>(
        context.batch, sections, [this](const HashedKey& key) { this->prefetch(key); },
        [this](const HashedKey& key, Value& value) { add(key, value); });
    if (!status) return status;
    close(context.watermark_ms);
    leave(context.watermark_ms);
    this->end_batch();
    return {};
  }

  void finish_restore(int64_t /*tick_ms*/) override {
    this->for_each_live([this](ByteSlot slot) { queue(slot); });
  }
  // Another length makes other windows of the same begins.
  [[nodiscard]] std::string layout() const override {
    return "windows of " + std::to_string(size_.length_ms) + " ms: " + layout_of<typename Fold::State>() +
           " and whether it was given";
  }
  [[nodiscard]] int64_t memory_bytes() const override {
    return VersionedTable<Cell>::memory_bytes() + closing_.memory_bytes() + leaving_.memory_bytes();
  }

 private:
  void add(const HashedKey& key, Value& value) {
    const ByteSlot slot = this->open(key);
    const bool fresh = !this->live(slot);
    if constexpr (Fold::kFirstStays) {
      if (!fresh) return;
    }
    this->change(slot, [&](Cell& cell, bool) {
      if (fresh) {
        fold_.begin(cell.value, value);
        cell.closed = false;
      } else {
        fold_.add(cell.value, value);
      }
    });
    if (fresh) queue(slot);
  }

  // Each live cell stands in one of the queues, if it waits for anything.
  void queue(ByteSlot slot) {
    const int64_t end_ms = size_.end_of(window_of(slot).second);
    if (this->followed() && !this->value(slot).closed) {
      closing_.add(end_ms, slot);
    } else if (keep_ms_ != kForEver) {
      leaving_.add(end_ms + keep_ms_, slot);
    }
  }

  void close(int64_t watermark_ms) {
    while (this->may_close()) {
      const auto due = closing_.take(watermark_ms, [this](ByteSlot slot) { return this->key(slot); });
      if (!due) return;
      const auto [key, begin_ms] = window_of(due->slot);
      this->note_closed(key, begin_ms, due->due_ms, this->value(due->slot).value);
      this->change(due->slot, [](Cell& cell, bool) { cell.closed = true; });
      queue(due->slot);
    }
  }

  void leave(int64_t watermark_ms) {
    if (watermark_ms == kEndOfTime_ms) return;
    for (size_t left = 0; left < this->kMostClosed; ++left) {
      const auto due = leaving_.take(watermark_ms, [this](ByteSlot slot) { return this->key(slot); });
      if (!due) return;
      this->remove(due->slot);
    }
  }

  [[nodiscard]] std::pair<std::string_view, int64_t> window_of(ByteSlot slot) const {
    std::string_view key;
    int64_t begin_ms = 0;
    CHECK(split_window_key(this->key(slot), key, begin_ms)) << "a window's key names its begin";
    return {key, begin_ms};
  }
  void slots_moved(std::span<const ByteSlot> moved) override {
    closing_.remap(moved);
    leaving_.remap(moved);
  }

  const EventWindowSize size_;
  const int64_t keep_ms_;
  [[no_unique_address]] const Fold fold_;
  FinalQueue closing_;  // by their ends; none where nobody follows
  FinalQueue leaving_;
};

// From its first value to its last one.
template <typename V>
struct Session {
  int64_t begin_ms;
  int64_t last_ms;
  V value;
  MILLRACE_FIELDS(Session, begin_ms, last_ms, value)
};

// The open sessions of a key, in order of time, as readers see them: [["BEGIN","LAST",value],...].
template <typename V>
struct Sessions {
  std::vector<Session<V>> open;
  MILLRACE_FIELDS(Sessions, open)

  [[nodiscard]] std::string text() const
    requires kTextual<V>
  {
    std::vector<std::tuple<std::string, std::string, V>> shown;
    for (const Session<V>& session : open) {
      shown.emplace_back(utc_text(session.begin_ms), utc_text(session.last_ms), session.value);
    }
    return text_of(shown);
  }
  // Of the newest one.
  [[nodiscard]] double score() const
    requires(HasScore<V> || std::is_arithmetic_v<V>)
  {
    return open.empty() ? 0 : score_of(open.back().value);
  }
};

// `Merge`: void(V& into, const V& from), associative and commutative. A session goes when it is closed; until then it
// takes what comes.
template <typename V, typename Merge>
class SessionTable final : public VersionedTable<Sessions<V>>, public Closing<V> {
 public:
  SessionTable(size_t rank_size, SessionGap gap, Merge merge)
      : VersionedTable<Sessions<V>>(rank_size), gap_(gap), merge_(std::move(merge)) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    this->begin_batch(context.batch);
    this->begin_closing();
    Status status = read_sections<SessionValue<V>>(
        context.batch, sections, [this](const HashedKey& key) { this->prefetch(key); },
        [this](const HashedKey& key, SessionValue<V>& value) { add(key, value); });
    if (!status) return status;
    close(context.watermark_ms);
    this->end_batch();
    return {};
  }

  void finish_restore(int64_t /*tick_ms*/) override {
    this->for_each_live([this](ByteSlot slot) { queue(slot); });
  }
  // Another gap makes other sessions.
  [[nodiscard]] std::string layout() const override {
    return "sessions with a gap of " + std::to_string(gap_.gap_ms) + " ms: " + layout_of<V>();
  }
  [[nodiscard]] int64_t memory_bytes() const override {
    return VersionedTable<Sessions<V>>::memory_bytes() + closing_.memory_bytes();
  }

 private:
  void add(const HashedKey& key, SessionValue<V>& value) {
    const ByteSlot slot = this->open(key);
    const bool fresh = !this->live(slot);
    const int64_t first_ms = fresh ? kEndOfTime_ms : first_end(slot);
    this->change(slot, [&](Sessions<V>& sessions, bool) {
      if (fresh) sessions = {};
      join(sessions.open, {value.time_ms, value.time_ms, std::move(value.value)});
    });
    // One that grows is looked at when it would have ended: a value costs no entry of its own.
    if (first_end(slot) < first_ms) queue(slot);
  }

  // One more session: those that are less than the gap apart from it become one with it.
  void join(std::vector<Session<V>>& open, Session<V> comes) {
    const auto first =
        std::ranges::find_if(open, [&](const Session<V>& session) { return end_of(session) > comes.begin_ms; });
    auto last = first;
    for (; last != open.end() && last->begin_ms < end_of(comes); ++last) {
      comes.begin_ms = std::min(comes.begin_ms, last->begin_ms);
      comes.last_ms = std::max(comes.last_ms, last->last_ms);
      merge_(comes.value, last->value);
    }
    open.insert(open.erase(first, last), std::move(comes));
  }

  [[nodiscard]] int64_t end_of(const Session<V>& session) const { return gap_.last_end(session.last_ms); }
  [[nodiscard]] int64_t first_end(ByteSlot slot) const { return end_of(this->value(slot).open.front()); }
  // Each live cell stands in the queue at the end of its first session, or at an earlier one that it had.
  void queue(ByteSlot slot) { closing_.add(first_end(slot), slot); }

  void close(int64_t watermark_ms) {
    while (this->may_close()) {
      const auto due = closing_.take(watermark_ms, [this](ByteSlot slot) { return this->key(slot); });
      if (!due) return;
      const std::vector<Session<V>>& open = this->value(due->slot).open;
      if (first_end(due->slot) == due->due_ms) {
        const Session<V>& session = open.front();
        this->note_closed(this->key(due->slot), session.begin_ms, due->due_ms, session.value);
        if (open.size() == 1) {
          this->remove(due->slot);
          continue;
        }
        this->change(due->slot, [](Sessions<V>& sessions, bool) { sessions.open.erase(sessions.open.begin()); });
      }
      queue(due->slot);
    }
  }

  void slots_moved(std::span<const ByteSlot> moved) override { closing_.remap(moved); }

  const SessionGap gap_;
  [[no_unique_address]] const Merge merge_;
  FinalQueue closing_;
};

// `V`: of the windows.
template <typename K, typename V>
class ClosedSource final : public Origin<Closed<K, V>>, public LevelSource {
 public:
  ClosedSource(Closing<V>& table, int32_t state_partitions) : table_(table) { table_.follow_closed(state_partitions); }

  void begin_level() override { next_ = 0; }
  bool give_next(Verdicts& verdicts) override {
    const auto& closed = table_.closed();
    chunk_.clear();
    while (next_ != closed.size() && chunk_.size() != kChunk) {
      const auto& [key, begin_ms, end_ms, value] = closed[next_++];
      chunk_.push_back({K{}, begin_ms, end_ms, value});
      CHECK(KeyText<K>::parse(key, chunk_.back().key)) << "a key's text must give the key";
    }
    if (chunk_.empty()) return false;
    verdicts.begin(chunk_.size());
    this->give(chunk_, std::span(kAscending).first(chunk_.size()), verdicts);
    return true;
  }

 private:
  Closing<V>& table_;  // of the same state partition
  size_t next_ = 0;    // in what it has closed
  std::vector<Closed<K, V>> chunk_;
};

}  // namespace internal
}  // namespace millrace
