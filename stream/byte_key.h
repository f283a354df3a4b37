// ByteKey: a key as two 64-bit words, so that most keys are compared by one load and hashed without a second look
// at their bytes.
//
//   inline (up to 15 bytes):  low   bytes 0-7, zero padded
//                             high  bytes 8-14, zero padded, and size + 1 in the last byte
//   long   (16 bytes and up): low   XXH3-64 of all bytes
//                             high  0xFF in the last byte; below it where the bytes lie (see ByteTable)
//
// high == 0 is no key. Little-endian machines only.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MILLRACE_READS_PAST_KEYS 0
#else
#define MILLRACE_READS_PAST_KEYS 1
#endif

namespace millrace {

static_assert(std::endian::native == std::endian::little);

struct ByteKey {
  static constexpr size_t kInlineBytes = 15;
  static constexpr uint64_t kLongTag = 0xFF;

  uint64_t low = 0;
  uint64_t high = 0;

  bool operator==(const ByteKey&) const = default;
  [[nodiscard]] bool none() const { return high == 0; }
  [[nodiscard]] bool is_long() const { return (high >> 56) == kLongTag; }
  [[nodiscard]] size_t inline_size() const { return (high >> 56) - 1; }
};

namespace internal {

inline uint64_t load_word(const char* at) {
  uint64_t word = 0;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

// Two words of which the first `size` bytes are the key's, the rest zero.
inline ByteKey load_exactly(const char* data, size_t size) {
  ByteKey words;
  std::array<char, 16> copy{};
  if (size != 0) std::memcpy(copy.data(), data, size);
  words.low = load_word(copy.data());
  words.high = load_word(copy.data() + 8);
  return words;
}

struct InlineMask {
  uint64_t low;
  uint64_t high;
  uint64_t tag;
};
inline constexpr std::array<InlineMask, 16> kInlineMasks = [] {
  std::array<InlineMask, 16> masks{};
  for (uint64_t size = 0; size < 16; ++size) {
    masks[size].low = size >= 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * size)) - 1;
    masks[size].high = size <= 8 ? 0 : (uint64_t{1} << (8 * (size - 8))) - 1;
    masks[size].tag = (size + 1) << 56;
  }
  return masks;
}();

}  // namespace internal

// The words of a key of at most 15 bytes. Sixteen bytes are read where that stays within the page, whatever lies
// behind the key; bytes that are not the key's have no influence.
[[gnu::always_inline]] inline ByteKey make_inline_key(const char* data, size_t size) {
  const internal::InlineMask& mask = internal::kInlineMasks[size];
#if MILLRACE_READS_PAST_KEYS
  constexpr uintptr_t kSmallestPage = 4096;
  const bool within_page = (reinterpret_cast<uintptr_t>(data) & (kSmallestPage - 1)) <= kSmallestPage - 16;
  if (size != 0 && within_page) [[likely]] {
    const char* at = data;
    asm("" : "+r"(at));  // The compiler must not conclude from this read that the object is longer.
    return {internal::load_word(at) & mask.low, (internal::load_word(at + 8) & mask.high) | mask.tag};
  }
#endif
  const ByteKey exact = internal::load_exactly(data, size);
  return {exact.low, exact.high | mask.tag};
}

// A portable multiply and fold over both words. Not against keys that somebody chose to collide.
inline uint64_t hash_inline_key(ByteKey key) {
  __extension__ using Product = unsigned __int128;
  const Product product = static_cast<Product>(key.low ^ 0x9E3779B97F4A7C15) * (key.high ^ 0xC2B2AE3D27D4EB4F);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace millrace
