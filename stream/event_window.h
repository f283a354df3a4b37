// Which windows by event time a value belongs to: the last parts of a chain before its edge. A window [begin, end) is
// final when the watermark has come to its end. A value is late where all windows that it belongs to are final in its
// own batch; it counts in those that are not.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "stream/codec.h"
#include "stream/event_key.h"
#include "stream/event_scope.h"

namespace millrace::internal {

struct EventWindowSize;
struct SessionGap;
// For people: "windows of 5m by event time, one each 1m".
std::string name_of(const EventWindowSize& size);
std::string name_of(const SessionGap& gap);

// The greatest multiple of `step` that is not above `time`.
constexpr int64_t floor_to(int64_t time, int64_t step) {
  const int64_t rest = time % step;
  return time - (rest < 0 ? rest + step : rest);
}

template <typename K, typename V>
struct AssignWindows;
template <typename K, typename V>
struct AssignSession;

// Windows of one length that begin at each multiple of the slide; tumbling where both are the same.
struct EventWindowSize {
  template <typename K, typename V>
  using Assign = AssignWindows<K, V>;

  int64_t length_ms;
  int64_t slide_ms;

  [[nodiscard]] int64_t end_of(int64_t begin_ms) const { return begin_ms + length_ms; }
  // The end of the last window that a time belongs to.
  [[nodiscard]] int64_t last_end(int64_t time_ms) const { return end_of(floor_to(time_ms, slide_ms)); }
};

// A session goes on as long as values come less than the gap apart.
struct SessionGap {
  template <typename K, typename V>
  using Assign = AssignSession<K, V>;

  int64_t gap_ms;

  [[nodiscard]] int64_t last_end(int64_t time_ms) const { return time_ms + gap_ms; }
};

template <typename K, typename V>
struct AssignWindows {
  using Output = std::pair<WindowKey<K>, V>;
  EventWindowSize size;

  template <typename Emit>
  void operator()(const Stamped<std::pair<K, V>>& stamped, Emit& emit) const {
    const auto& [pair, time_ms, watermark_ms, late] = stamped;
    if (size.last_end(time_ms) <= watermark_ms) {
      *late = true;
      return;
    }
    for (int64_t begin_ms = floor_to(time_ms, size.slide_ms);
         begin_ms > time_ms - size.length_ms && size.end_of(begin_ms) > watermark_ms; begin_ms -= size.slide_ms) {
      emit(Output{{pair.first, begin_ms}, pair.second});
    }
  }
};

template <typename V>
struct SessionValue {
  int64_t time_ms;
  V value;
  MILLRACE_FIELDS(SessionValue, time_ms, value)
};

template <typename K, typename V>
struct AssignSession {
  using Output = std::pair<K, SessionValue<V>>;
  SessionGap size;

  template <typename Emit>
  void operator()(const Stamped<std::pair<K, V>>& stamped, Emit& emit) const {
    if (size.last_end(stamped.time_ms) <= stamped.watermark_ms) {
      *stamped.late = true;
    } else {
      emit(Output{stamped.value.first, {stamped.time_ms, stamped.value.second}});
    }
  }
};

}  // namespace millrace::internal
