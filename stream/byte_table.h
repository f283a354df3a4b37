// ByteTable: a hash table from byte strings to a trivially copyable value, made for counting. Open addressing with
// linear probing; keys of up to 15 bytes lie in the slot itself (stream/byte_key.h), longer ones in an arena. Used
// by one thread. Keys are removed by rebuild() only, many at once.
//
// A slot is named by its index (ByteSlot), which stays valid until rebuild(). That is called by whoever owns the table,
// when find_or_insert() asks for room, since whoever keeps indices must change them then.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "stream/huge_array.h"
#include "stream/key_arena.h"

namespace millrace {

using ByteSlot = uint32_t;
inline constexpr ByteSlot kNoByteSlot = std::numeric_limits<ByteSlot>::max();

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
  [[nodiscard]] size_t memory_bytes() const { return slots_.size() * sizeof(Slot) + arena_.memory_bytes(); }
  [[nodiscard]] bool used(ByteSlot slot) const { return !slots_[slot].key.none(); }
  Value& value(ByteSlot slot) { return slots_[slot].value; }
  [[nodiscard]] const Value& value(ByteSlot slot) const { return slots_[slot].value; }
  // Valid until the next insertion.
  [[nodiscard]] std::string_view key(ByteSlot slot) const { return arena_.bytes_of(slots_[slot].key); }

  // Calls function(slot) for each of the slots in order, with those to come on their way into the cache.
  template <typename Function>
  void visit(std::span<const ByteSlot> slots, Function&& function) const {
    constexpr size_t kAhead = 24;
    for (size_t i = 0; i < slots.size(); ++i) {
      if (i + kAhead < slots.size()) __builtin_prefetch(&slots_[slots[i + kAhead]]);
      function(slots[i]);
    }
  }

  void prefetch(uint64_t hash) const {
    __builtin_prefetch(&slots_[hash & mask_], 1);
    asm volatile("");  // or GCC may take this for a function without effect and drop what calls it
  }

  [[nodiscard]] ByteSlot find(const HashedKey& wanted) const {
    for (uint64_t at = wanted.hash & mask_;; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (arena_.matches(slot.key, wanted)) return static_cast<ByteSlot>(at);
      if (slot.key.none()) return kNoByteSlot;
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
      if (arena_.matches(slot.key, wanted)) return {static_cast<ByteSlot>(at), false};
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
    const bool dropped = kept < size_;
    const KeyArena old_arena = dropped ? std::exchange(arena_, {}) : KeyArena();
    HugeArray<Slot> old(capacity_for(kept));
    std::swap(old, slots_);
    mask_ = slots_.size() - 1;
    for (size_t index = 0; index < old.size(); ++index) {
      if (moved[index] == kNoByteSlot) continue;
      Slot slot = old[index];
      uint64_t at = KeyArena::hash_of(slot.key) & mask_;
      while (!slots_[at].key.none()) at = (at + 1) & mask_;
      if (dropped) slot.key = arena_.keep(slot.key, old_arena);
      slots_[at] = slot;
      moved[index] = static_cast<ByteSlot>(at);
    }
    size_ = kept;
    return moved;
  }
  std::vector<ByteSlot> rebuild() {
    return rebuild([](ByteSlot) { return true; });
  }

 private:
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
    slot.key = arena_.keep(wanted);
    ++size_;
    return static_cast<ByteSlot>(at);
  }

  HugeArray<Slot> slots_;
  uint64_t mask_;
  size_t size_ = 0;
  KeyArena arena_;
};

}  // namespace millrace
