// The keys of tables by event-time windows: a key and the begin of its window. Its text, which readers see, is
//
//   KEY@2026-11-21T20:30:00Z      in UTC; windows begin with a second, so that texts of a key stand in order of time
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "common/model/utc.h"
#include "stream/codec.h"

namespace millrace {

template <typename K>
struct WindowKey {
  K key;
  int64_t begin_ms;
  MILLRACE_FIELDS(WindowKey, key, begin_ms)
};

template <typename K>
struct OwnedOf<WindowKey<K>> {
  using type = WindowKey<typename OwnedOf<K>::type>;
};

namespace internal {

// Why a time is no event time.
std::string no_event_time(int64_t time_ms);
std::string too_far_ahead(int64_t time_ms, int64_t batch_time_ms, int64_t ahead_ms);
// The window's begin of a key's text; false: it has none.
bool split_window_key(std::string_view text, std::string_view& key, int64_t& begin_ms);

}  // namespace internal

template <Keyable K>
struct KeyText<WindowKey<K>> {
  static std::string_view view(const WindowKey<K>& key, KeyBuffer& buffer) {
    KeyBuffer part;
    buffer.assign(KeyText<K>::view(key.key, part));
    buffer += '@';
    append_utc(buffer, key.begin_ms);
    return buffer;
  }
  static bool parse(std::string_view text, WindowKey<K>& key) {
    std::string_view part;
    return internal::split_window_key(text, part, key.begin_ms) && KeyText<K>::parse(part, key.key);
  }
};

}  // namespace millrace
