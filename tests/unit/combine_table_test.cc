#include "stream/combine_table.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/unit/random_key.h"

namespace millrace {
namespace {

TEST(CombineTable, agrees_with_unordered_map_and_keeps_the_order_of_insertion) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::mt19937_64 random(seed);
    CombineTable<int64_t> table;
    std::unordered_map<std::string, int64_t> model;
    std::vector<std::string> keys;
    const size_t distinct = 1 + random() % 5000;
    for (int step = 0; step < 5000; ++step) {
      const std::string key = random_key(random, distinct);
      const auto [number, inserted] = table.find_or_insert(HashedKey::of(key));
      ASSERT_EQ(inserted, !model.contains(key));
      if (inserted) {
        EXPECT_EQ(table.value(number), 0);
        EXPECT_EQ(number, keys.size());
        keys.push_back(key);
      }
      table.value(number) += step;
      model[key] += step;
      if (step % 1777 == 1776) {
        table.clear();
        model.clear();
        keys.clear();
      }
    }
    ASSERT_EQ(table.size(), keys.size());
    for (uint32_t i = 0; i < keys.size(); ++i) {
      EXPECT_EQ(table.key(i), keys[i]);
      EXPECT_EQ(table.value(i), model[keys[i]]);
    }
  }
}

TEST(CombineTable, guesses_the_entry_of_nearly_every_key_that_it_holds) {
  CombineTable<int64_t> table;
  constexpr int kKeys = 200'000;
  const auto key_of = [](int i) { return HashedKey::of(std::to_string(i)); };
  for (int i = 0; i < kKeys; ++i) table.find_or_insert(key_of(i));
  int wrong = 0;
  int taken_for_another = 0;
  for (int i = 0; i < kKeys; ++i) {
    const HashedKey key = key_of(i);
    const auto guess = table.guess(key.hash);
    ASSERT_NE(guess, table.kNone);
    const bool right = table.is(guess, key.key);
    ASSERT_EQ(right, guess == static_cast<uint32_t>(i));
    wrong += right ? 0 : 1;
    const HashedKey absent = key_of(i + kKeys);
    const auto other = table.guess(absent.hash);
    if (other == table.kNone) continue;
    ++taken_for_another;
    ASSERT_FALSE(table.is(other, absent.key));
  }
  EXPECT_LT(wrong, kKeys / 1000);
  EXPECT_LT(taken_for_another, kKeys / 1000);
}

TEST(CombineTable, a_table_that_was_large_once_gives_memory_back) {
  CombineTable<int64_t> table;
  for (int i = 0; i < 1'000'000; ++i) table.find_or_insert(HashedKey::of(std::to_string(i)));
  const size_t large = table.memory_bytes();
  for (int round = 0; round < 10; ++round) {
    table.clear();
    EXPECT_TRUE(table.find_or_insert(HashedKey::of("one")).inserted);
    EXPECT_FALSE(table.find_or_insert(HashedKey::of("one")).inserted);
  }
  EXPECT_LT(table.memory_bytes(), large / 8);
  EXPECT_EQ(table.size(), 1U);
}

}  // namespace
}  // namespace millrace
