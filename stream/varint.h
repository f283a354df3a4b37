// Unsigned varints: 7 bits a byte, least significant first, the high bit set on all bytes but the last.
#pragma once

#include <cstdint>

namespace millrace {

inline constexpr size_t kMaxVarintBytes = 10;

inline size_t varint_size(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

// Writes at most kMaxVarintBytes and gives the position behind them.
inline char* put_varint(char* at, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *at++ = static_cast<char>(value | 0x80);
  *at++ = static_cast<char>(value);
  return at;
}

// False: the bytes end early or hold more than 64 bits; `at` is then anywhere up to `end`.
[[gnu::always_inline]] inline bool get_varint(const char*& at, const char* end, uint64_t& value) {
  if (at < end && *at >= 0) [[likely]] {
    value = static_cast<uint8_t>(*at++);
    return true;
  }
  value = 0;
  for (int shift = 0; at < end; shift += 7) {
    const auto byte = static_cast<uint8_t>(*at++);
    if (shift == 63 && byte > 1) return false;
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

}  // namespace millrace
