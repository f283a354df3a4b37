// CombineTable: a hash table from byte strings to a trivially copyable value, made for combining the pairs of a batch:
// it is filled, gone through once in the order in which the keys came, and cleared. Used by one thread.
//
//   entries   key and value, one behind the other in the order of insertion. Frequent keys come early, so they share
//             few cache lines; and an entry keeps its number.
//   index     open addressing with linear probing, four bytes a slot: 0, or the entry's number + 1 in as many low bits
//             as the index' size needs, with bits of the hash above them
//
// A table of many keys misses the caches twice a lookup, so a lookup has three steps with time for others between them:
// prefetch() the slot, guess() the entry by the slot, look whether it is(). What was guessed wrong is looked for by
// find_or_insert().
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include "common/base/check.h"
#include "stream/huge_array.h"
#include "stream/key_arena.h"

namespace millrace {

template <typename Value>
class CombineTable {
  static_assert(std::is_trivially_copyable_v<Value>);

 public:
  // Of an entry: as many keys were there before.
  using Number = uint32_t;
  static constexpr Number kNone = std::numeric_limits<Number>::max();

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t memory_bytes() const {
    return entries_.size() * sizeof(Entry) + index_.size() * sizeof(uint32_t) + arena_.memory_bytes();
  }
  Value& value(Number number) { return entries_[number].value; }
  [[nodiscard]] const Value& value(Number number) const { return entries_[number].value; }
  // Valid until the next insertion.
  [[nodiscard]] std::string_view key(Number number) const { return arena_.bytes_of(entries_[number].key); }

  void prefetch(uint64_t hash) const {
    __builtin_prefetch(&index_[hash & mask_]);
    asm volatile("");  // as in ByteTable
  }

  // The entry of a key of this hash, most likely, which is then on its way into the cache. kNone: there is no such key.
  [[nodiscard]] Number guess(uint64_t hash) const {
    const uint32_t tag = tag_of(hash);
    for (uint64_t at = hash & mask_;; at = (at + 1) & mask_) {
      const uint32_t slot = index_[at];
      if (slot == 0) return kNone;
      if ((slot & ~mask_) != tag) continue;
      const Number number = (slot & mask_) - 1;
      __builtin_prefetch(&entries_[number], 1);
      return number;
    }
  }

  // Whether the entry, which is there, is that of an inline key.
  [[nodiscard]] bool is(Number number, ByteKey key) const {
    const ByteKey there = entries_[number].key;
    return ((there.low ^ key.low) | (there.high ^ key.high)) == 0;
  }

  struct Found {
    Number number;
    bool inserted;
  };
  // Inserts an absent key with an all-zero value.
  Found find_or_insert(const HashedKey& wanted) {
    const uint32_t tag = tag_of(wanted.hash);
    uint64_t at = wanted.hash & mask_;
    for (; index_[at] != 0; at = (at + 1) & mask_) {
      const uint32_t slot = index_[at];
      if ((slot & ~mask_) != tag) continue;
      const Number number = (slot & mask_) - 1;
      if (arena_.matches(entries_[number].key, wanted)) return {number, false};
    }
    if (size_ == entries_.size()) {
      grow();
      at = free_slot(wanted.hash);
    }
    const auto number = static_cast<Number>(size_++);
    index_[at] = tag_of(wanted.hash) | (number + 1);
    entries_[number] = {arena_.keep(wanted), Value{}};
    return {number, true};
  }

  // Forgets all keys. The memory is kept unless it is far too much for them.
  void clear() {
    constexpr size_t kKeep = size_t{1} << 15;
    if (entries_.size() > kKeep && size_ < entries_.size() / 32) {
      const size_t capacity = std::max(kKeep, entries_.size() / 4);
      entries_ = HugeArray<Entry>(capacity);
      index_ = HugeArray<uint32_t>(capacity * kSlotsPerEntry);
      mask_ = mask_of(index_.size());
    } else if (size_ != 0) {
      index_.clear();
    }
    size_ = 0;
    arena_.clear();
  }

 private:
  struct Entry {
    ByteKey key;
    Value value;
  };
  static constexpr size_t kFewest = 512;
  static constexpr size_t kSlotsPerEntry = 2;  // of a full table

  static uint32_t mask_of(size_t slots) { return static_cast<uint32_t>(slots - 1); }
  [[nodiscard]] uint32_t tag_of(uint64_t hash) const { return static_cast<uint32_t>(hash >> 32) & ~mask_; }

  [[nodiscard]] uint64_t free_slot(uint64_t hash) const {
    uint64_t at = hash & mask_;
    while (index_[at] != 0) at = (at + 1) & mask_;
    return at;
  }

  [[gnu::noinline]] void grow() {
    const size_t capacity = 2 * entries_.size();
    CHECK_LE(capacity, size_t{1} << 30) << "a table of " << size_ << " keys cannot grow";
    HugeArray<Entry> entries(capacity);
    std::memcpy(static_cast<void*>(&entries[0]), &entries_[0], size_ * sizeof(Entry));
    entries_ = std::move(entries);
    index_ = HugeArray<uint32_t>(capacity * kSlotsPerEntry);
    mask_ = mask_of(index_.size());
    for (size_t number = 0; number < size_; ++number) {
      const uint64_t hash = KeyArena::hash_of(entries_[number].key);
      index_[free_slot(hash)] = tag_of(hash) | static_cast<uint32_t>(number + 1);
    }
  }

  HugeArray<Entry> entries_{kFewest};
  HugeArray<uint32_t> index_{kFewest * kSlotsPerEntry};
  uint32_t mask_ = mask_of(kFewest * kSlotsPerEntry);
  size_t size_ = 0;
  KeyArena arena_;
};

}  // namespace millrace
