// ByteTable: a hash table from byte strings to a trivially copyable value, made for counting. Open addressing with
// linear probing; keys of up to 15 bytes lie in the slot itself (stream/byte_key.h), longer ones in an arena. Used
// by one thread. Keys are removed by rebuild() only, many at once.
//
// A slot is named by its index (ByteSlot), which stays valid until rebuild(). That is called by whoever owns the table,
// when find_or_insert() asks for room, since whoever keeps indices must change them then.
//
// Arena: { u32 size, bytes } one after the other; `high` of a long key holds the position in its low 56 bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "stream/byte_key.h"
#include "stream/huge_array.h"

namespace millrace {

using ByteSlot = uint32_t;
inline constexpr ByteSlot kNoByteSlot = std::numeric_limits<ByteSlot>::max();

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

template <typename Value>
class ByteTable {
  static_assert(std::is_trivially_copyable_v<Value>);
  struct Plain {
    ByteKey key;
    Value value;
  };
  static constexpr size_t kAlignment = sizeof(Plain) <= 32 ? 32 : alignof(Plain);  // never across a cache line

 public:
  struct alignas(kAlignment) Slot {
    ByteKey key;  // none: free
    Value value;
  };

  explicit ByteTable(size_t capacity = 16) : slots_(std::bit_ceil(capacity)), mask_(slots_.size() - 1) {}

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t capacity() const { return slots_.size(); }
  [[nodiscard]] size_t memory_bytes() const { return slots_.size() * sizeof(Slot) + arena_.capacity(); }
  [[nodiscard]] bool used(ByteSlot slot) const { return !slots_[slot].key.none(); }
  Value& value(ByteSlot slot) { return slots_[slot].value; }
  [[nodiscard]] const Value& value(ByteSlot slot) const { return slots_[slot].value; }
  // Valid until the next insertion.
  [[nodiscard]] std::string_view key(ByteSlot slot) const { return key_of(slots_[slot].key, slot); }

  // Calls function(slot) for each of the slots in order, with those to come on their way into the cache.
  template <typename Function>
  void visit(std::span<const ByteSlot> slots, Function&& function) const {
    constexpr size_t kAhead = 24;
    for (size_t i = 0; i < slots.size(); ++i) {
      if (i + kAhead < slots.size()) __builtin_prefetch(&slots_[slots[i + kAhead]]);
      function(slots[i]);
    }
  }

  void prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[hash & mask_], 1); }

  [[nodiscard]] ByteSlot find(const HashedKey& wanted) const {
    for (uint64_t at = wanted.hash & mask_;; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (matches(slot.key, wanted)) return static_cast<ByteSlot>(at);
      if (slot.key.none()) return kNoByteSlot;
    }
  }

  // For the innermost loops: the slot of an inline key, or the free one (see used()) where the search for it ended.
  [[nodiscard]] ByteSlot probe_inline(ByteKey wanted, uint64_t hash) const {
    for (uint64_t at = hash & mask_;; at = (at + 1) & mask_) {
      const ByteKey there = slots_[at].key;
      if (((there.low ^ wanted.low) | (there.high ^ wanted.high)) == 0 || there.none())
        return static_cast<ByteSlot>(at);
    }
  }

  struct Found {
    ByteSlot slot;
    bool inserted;
  };
  // Inserts an absent key with an all-zero value. `make_room()` is called where the table is full, and calls rebuild().
  template <typename MakeRoom>
  [[gnu::always_inline]] Found find_or_insert(const HashedKey& wanted, MakeRoom&& make_room) {
    for (uint64_t at = wanted.hash & mask_;; at = (at + 1) & mask_) {
      Slot& slot = slots_[at];
      if (matches(slot.key, wanted)) return {static_cast<ByteSlot>(at), false};
      if (slot.key.none()) [[unlikely]]
        return {insert_at(at, wanted, make_room), true};
    }
  }

  // Drops the keys for whose slots `keep(slot)` is false, and makes the table as large as the others need, with room
  // for as many more. Element i of what is given is the new index of slot i; kNoByteSlot: free, or dropped.
  template <typename Keep>
  [[gnu::noinline]] std::vector<ByteSlot> rebuild(Keep&& keep) {
    std::vector<ByteSlot> moved(slots_.size(), kNoByteSlot);
    size_t kept = 0;
    for (size_t index = 0; index < slots_.size(); ++index) {
      const auto slot = static_cast<ByteSlot>(index);
      if (!used(slot) || !keep(slot)) continue;
      moved[index] = slot;
      ++kept;
    }
    const std::string old_arena = kept < size_ ? std::exchange(arena_, {}) : std::string();
    HugeArray<Slot> old(capacity_for(kept));
    std::swap(old, slots_);
    mask_ = slots_.size() - 1;
    for (size_t index = 0; index < old.size(); ++index) {
      if (moved[index] == kNoByteSlot) continue;
      Slot slot = old[index];
      uint64_t at = (slot.key.is_long() ? slot.key.low : hash_inline_key(slot.key)) & mask_;
      while (!slots_[at].key.none()) at = (at + 1) & mask_;
      if (kept < size_ && slot.key.is_long()) slot.key.high = long_high(long_key(old_arena, slot.key));
      slots_[at] = slot;
      moved[index] = static_cast<ByteSlot>(at);
    }
    size_ = kept;
    return moved;
  }
  std::vector<ByteSlot> rebuild() {
    return rebuild([](ByteSlot) { return true; });
  }

  // Forgets all keys. `used` are the slots in use; the memory is kept unless it is far too much for them.
  void clear(std::span<const ByteSlot> used_slots) {
    constexpr size_t kKeep = size_t{1} << 16;
    if (slots_.size() > kKeep && used_slots.size() < slots_.size() / 64) {
      slots_ = HugeArray<Slot>(std::max(kKeep, slots_.size() / 4));
      mask_ = slots_.size() - 1;
    } else if (used_slots.size() < slots_.size() / 8) {
      for (const ByteSlot slot : used_slots) slots_[slot] = Slot{};
    } else {
      slots_.clear();
    }
    size_ = 0;
    arena_.clear();
  }

 private:
  static constexpr uint64_t kPositionMask = (uint64_t{1} << 56) - 1;

  static std::string_view long_key(const std::string& arena, ByteKey key) {
    const char* at = arena.data() + (key.high & kPositionMask);
    uint32_t size = 0;
    std::memcpy(&size, at, sizeof(size));
    return {at + sizeof(size), size};
  }

  // The high word of a long key, after its bytes have been added to the arena.
  uint64_t long_high(std::string_view bytes) {
    const uint64_t high = (ByteKey::kLongTag << 56) | arena_.size();
    const auto size = static_cast<uint32_t>(bytes.size());
    arena_.append(reinterpret_cast<const char*>(&size), sizeof(size));
    arena_.append(bytes);
    return high;
  }

  [[nodiscard]] std::string_view key_of(const ByteKey& key, ByteSlot slot) const {
    if (key.is_long()) return long_key(arena_, key);
    return {reinterpret_cast<const char*>(&slots_[slot].key), key.inline_size()};
  }

  [[nodiscard]] bool matches(const ByteKey& there, const HashedKey& wanted) const {
    if (there == wanted.key && !there.is_long()) [[likely]]
      return true;
    return wanted.key.is_long() && there.is_long() && there.low == wanted.key.low &&
           long_key(arena_, there) == wanted.bytes;
  }

  // From three eighths to three quarters of the slots are in use.
  [[nodiscard]] size_t capacity_for(size_t keys) const {
    const size_t capacity = std::max(size_t{16}, std::bit_ceil((keys * 8 + 2) / 3));
    CHECK_LE(capacity, size_t{1} << 31) << "a table of " << size_ << " keys cannot grow";
    return capacity;
  }

  template <typename MakeRoom>
  ByteSlot insert_at(uint64_t at, const HashedKey& wanted, MakeRoom&& make_room) {
    if ((size_ + 1) * 4 > slots_.size() * 3) {
      make_room();
      at = wanted.hash & mask_;
      while (!slots_[at].key.none()) at = (at + 1) & mask_;
    }
    Slot& slot = slots_[at];
    slot.key = wanted.key;
    if (wanted.key.is_long()) slot.key.high = long_high(wanted.bytes);
    ++size_;
    return static_cast<ByteSlot>(at);
  }

  HugeArray<Slot> slots_;
  uint64_t mask_;
  size_t size_ = 0;
  std::string arena_;
};

}  // namespace millrace
