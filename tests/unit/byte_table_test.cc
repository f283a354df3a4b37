#include "stream/byte_table.h"

#include <gtest/gtest.h>

#include <sys/mman.h>
#include <unistd.h>

#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "stream/varint.h"
#include "tests/unit/random_key.h"

namespace millrace {
namespace {

TEST(ByteTable, agrees_with_unordered_map_under_random_operations) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::mt19937_64 random(seed);
    ByteTable<int64_t> table;
    std::unordered_map<std::string, int64_t> model;
    std::vector<ByteSlot> slots;
    std::vector<std::string> keys;  // of slots
    const size_t distinct = 1 + random() % 5000;
    for (int step = 0; step < 5000; ++step) {
      const std::string key = random_key(random, distinct);
      const auto [slot, inserted] = table.find_or_insert(HashedKey::of(key), [&] {
        const auto moved = table.rebuild();
        for (ByteSlot& kept : slots) kept = moved[kept];
      });
      ASSERT_EQ(inserted, !model.contains(key));
      if (inserted) {
        EXPECT_EQ(table.value(slot), 0);
        slots.push_back(slot);
        keys.push_back(key);
      }
      table.value(slot) += step;
      model[key] += step;
    }
    ASSERT_EQ(table.size(), model.size());
    for (size_t i = 0; i < slots.size(); ++i) {
      EXPECT_EQ(table.key(slots[i]), keys[i]);
      EXPECT_EQ(table.value(slots[i]), model[keys[i]]);
    }
    for (int i = 0; i < 1000; ++i) {
      const std::string key = random_key(random, 2 * distinct);
      const ByteSlot slot = table.find(HashedKey::of(key));
      const auto expected = model.find(key);
      ASSERT_EQ(slot != kNoByteSlot, expected != model.end());
      if (slot != kNoByteSlot) {
        EXPECT_EQ(table.value(slot), expected->second);
      }
    }
  }
}

TEST(ByteTable, a_rebuilt_table_holds_what_was_kept_and_gives_memory_back) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::mt19937_64 random(seed);
    ByteTable<int64_t> table;
    std::unordered_map<std::string, int64_t> model;
    for (int round = 0; round < 20; ++round) {
      for (int step = 0; step < 2000; ++step) {
        const std::string key = random_key(random, 100'000);
        const ByteSlot slot = table.find_or_insert(HashedKey::of(key), [&] { table.rebuild(); }).slot;
        ASSERT_EQ(table.value(slot), model[key]);
        table.value(slot) = model[key] = step + 1;
      }
      const int64_t keep_below = static_cast<int64_t>(random() % 2000);
      const size_t slots_before = table.capacity();
      const size_t used = table.size();
      const auto keep = [&](ByteSlot slot) { return table.value(slot) < keep_below; };
      std::vector<std::string> keys(slots_before);
      for (size_t i = 0; i < slots_before; ++i) {
        const auto slot = static_cast<ByteSlot>(i);
        if (table.used(slot)) keys[i] = table.key(slot);
      }
      const std::vector<ByteSlot> moved = table.rebuild(keep);
      std::erase_if(model, [&](const auto& entry) { return entry.second >= keep_below; });
      ASSERT_EQ(table.size(), model.size());
      ASSERT_LE(table.size(), used);
      ASSERT_LE(table.capacity(), std::max(size_t{16}, 6 * table.size()));
      size_t slots_after = 0;
      for (size_t i = 0; i < moved.size(); ++i) {
        if (moved[i] == kNoByteSlot) continue;
        ++slots_after;
        ASSERT_EQ(table.key(moved[i]), keys[i]);
      }
      ASSERT_EQ(slots_after, table.size());
      for (const auto& [key, value] : model) {
        const ByteSlot slot = table.find(HashedKey::of(key));
        ASSERT_NE(slot, kNoByteSlot);
        ASSERT_EQ(table.value(slot), value);
      }
    }
  }
}

TEST(ByteTable, keys_that_differ_only_in_trailing_nul_bytes_are_different) {
  ByteTable<int> table;
  for (size_t size = 0; size <= 40; ++size) {
    const std::string key(size, '\0');
    EXPECT_TRUE(table.find_or_insert(HashedKey::of(key), [&] { table.rebuild(); }).inserted) << size;
    EXPECT_FALSE(table.find_or_insert(HashedKey::of(key), [&] { table.rebuild(); }).inserted) << size;
  }
  EXPECT_EQ(table.size(), 41U);
}

TEST(ByteTable, bytes_behind_a_key_do_not_matter) {
  const std::string one = "word-and-what-follows";
  const std::string other = "word other bytes here";
  for (size_t size = 0; size <= 4; ++size) {
    EXPECT_EQ(make_inline_key(one.data(), size), make_inline_key(other.data(), size));
  }
}

TEST(ByteTable, a_key_at_the_end_of_the_mapped_memory_is_read_safely) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  char* end = static_cast<char*>(memory) + page;
  ASSERT_EQ(mprotect(end, page, PROT_NONE), 0);
  for (size_t size = 0; size <= 15; ++size) {
    std::memset(end - size, 'k', size);
    EXPECT_EQ(make_inline_key(end - size, size), make_inline_key(std::string(size, 'k').data(), size));
  }
  munmap(memory, 2 * page);
}

TEST(Varint, every_length_comes_back_and_bad_ones_are_refused) {
  for (int bits = 0; bits < 64; ++bits) {
    for (const uint64_t value : {uint64_t{1} << bits, (uint64_t{1} << bits) - 1, ~uint64_t{0} >> bits}) {
      char bytes[kMaxVarintBytes];
      char* end = put_varint(bytes, value);
      EXPECT_EQ(static_cast<size_t>(end - bytes), varint_size(value));
      const char* at = bytes;
      uint64_t back = 0;
      ASSERT_TRUE(get_varint(at, end, back));
      EXPECT_EQ(back, value);
      EXPECT_EQ(at, end);
      at = bytes;
      EXPECT_FALSE(get_varint(at, end - 1, back));
    }
  }
  const std::string too_long(11, '\xff');
  const char* at = too_long.data();
  uint64_t value = 0;
  EXPECT_FALSE(get_varint(at, at + too_long.size(), value));
}

}  // namespace
}  // namespace millrace
