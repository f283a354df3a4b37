// HashedKey and KeyArena: what tables of byte strings share (see stream/byte_key.h for the keys themselves).
//
// Arena: { u32 size, bytes } one after the other; `high` of a long key holds the position in its low 56 bits.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "stream/byte_key.h"

namespace millrace {

// XXH3-64 of the bytes.
uint64_t hash_long_key(std::string_view key);

// A key ready for a lookup. `bytes` is looked at for long keys only, and must live until the lookup is done.
struct HashedKey {
  ByteKey key;
  uint64_t hash = 0;
  std::string_view bytes;

  [[gnu::always_inline]] static HashedKey of(std::string_view bytes) {
    if (bytes.size() <= ByteKey::kInlineBytes) {
      const ByteKey key = make_inline_key(bytes.data(), bytes.size());
      return {key, hash_inline_key(key), bytes};
    }
    const uint64_t hash = hash_long_key(bytes);
    return {{hash, ByteKey::kLongTag << 56}, hash, bytes};
  }
};

// The bytes of a table's long keys.
class KeyArena {
 public:
  // The key as it is kept.
  ByteKey keep(const HashedKey& key) { return key.key.is_long() ? ByteKey{key.key.low, high_of(key.bytes)} : key.key; }
  // One that another arena keeps.
  ByteKey keep(ByteKey key, const KeyArena& other) {
    return key.is_long() ? ByteKey{key.low, high_of(other.long_key(key))} : key;
  }
  // `there` must outlive what is returned. Valid until the next keep().
  [[nodiscard]] std::string_view bytes_of(const ByteKey& there) const {
    if (there.is_long()) return long_key(there);
    return {reinterpret_cast<const char*>(&there), there.inline_size()};
  }
  [[nodiscard]] bool matches(const ByteKey& there, const HashedKey& wanted) const {
    if (there == wanted.key && !there.is_long()) [[likely]]
      return true;
    return wanted.key.is_long() && there.is_long() && there.low == wanted.key.low && long_key(there) == wanted.bytes;
  }
  void clear() { bytes_.clear(); }
  [[nodiscard]] size_t memory_bytes() const { return bytes_.capacity(); }

  // The hash of a key as it is kept.
  static uint64_t hash_of(const ByteKey& there) { return there.is_long() ? there.low : hash_inline_key(there); }

 private:
  static constexpr uint64_t kPositionMask = (uint64_t{1} << 56) - 1;

  [[nodiscard]] std::string_view long_key(ByteKey key) const {
    const char* at = bytes_.data() + (key.high & kPositionMask);
    uint32_t size = 0;
    std::memcpy(&size, at, sizeof(size));
    return {at + sizeof(size), size};
  }

  uint64_t high_of(std::string_view key) {
    const uint64_t high = (ByteKey::kLongTag << 56) | bytes_.size();
    const auto size = static_cast<uint32_t>(key.size());
    bytes_.append(reinterpret_cast<const char*>(&size), sizeof(size));
    bytes_.append(key);
    return high;
  }

  std::string bytes_;
};

}  // namespace millrace
