// Integers in byte layouts: little-endian in ours, big-endian in Kafka's. Unaligned, never outside of the given bytes.
#pragma once

#include <bit>
#include <cstring>

namespace millrace {

static_assert(std::endian::native == std::endian::little, "layouts are read in place on little-endian machines only");

template <typename Integer>
inline Integer load_little(const char* from) {
  Integer value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename Integer>
inline void store_little(char* to, Integer value) {
  std::memcpy(to, &value, sizeof value);
}

template <typename Integer>
inline Integer load_big(const char* from) {
  return std::byteswap(load_little<Integer>(from));
}

template <typename Integer>
inline void store_big(char* to, Integer value) {
  store_little(to, std::byteswap(value));
}

}  // namespace millrace
