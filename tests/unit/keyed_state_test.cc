#include "stream/keyed_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A value that can fall, so that all that a count never does is tried too.
struct Sum {
  void operator()(int64_t& into, const int64_t& from) const { into += from; }
};
using Table = internal::KeyedStateTable<internal::ReduceFold<int64_t, Sum>>;
using Pairs = std::vector<std::pair<std::string, int64_t>>;
using Model = std::map<std::string, int64_t>;

std::string section_of(const Pairs& pairs) {
  char varint[kMaxVarintBytes];
  const auto number = [&](uint64_t value) { return std::string(varint, put_varint(varint, value)); };
  std::string bytes = number(pairs.size());
  for (const auto& [key, value] : pairs) {
    bytes += number(key.size()) + key;
    bytes.append(varint, Codec<int64_t>::encode(varint, value));
  }
  return bytes;
}

Status apply(Table& table, int64_t batch, const std::vector<Pairs>& sections) {
  std::vector<std::string> bytes;
  for (const Pairs& pairs : sections) bytes.push_back(section_of(pairs));
  const std::vector<std::string_view> views(bytes.begin(), bytes.end());
  return table.apply({BatchId(batch)}, views);
}

Model frozen(Table& table) {
  StateRun run;
  table.freeze_all(StatePartition(3), run);
  Model entries;
  for (size_t i = 0; i < run.size(); ++i) {
    int64_t value = 0;
    const std::string_view bytes = run[i].value;
    const char* at = bytes.data();
    EXPECT_TRUE(Codec<int64_t>::decode(at, bytes.data() + bytes.size(), value));
    EXPECT_EQ(run[i].partition, StatePartition(3));
    EXPECT_TRUE(entries.emplace(std::string(run[i].key), value).second) << "a key twice";
  }
  return entries;
}

Model published(Table& table, bool all) {
  Model entries;
  for (const SinkEntry& entry : table.take_unpublished(all)) {
    EXPECT_EQ(entry.score, std::stod(entry.text));
    EXPECT_TRUE(entries.emplace(entry.key, std::stoll(entry.text)).second) << "a key twice";
  }
  return entries;
}

Pairs ranked(const Model& model, size_t n) {
  Pairs all(model.begin(), model.end());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  if (all.size() > n) all.resize(n);
  return all;
}

Pairs top(Table& table, size_t n) {
  Pairs pairs;
  for (const SinkEntry& entry : table.top(n)) pairs.emplace_back(entry.key, std::stoll(entry.text));
  return pairs;
}

void check_top_above(Table& table, const Model& model, size_t n, double at_least) {
  Pairs expected = ranked(model, n);
  std::erase_if(expected, [&](const auto& pair) { return static_cast<double>(pair.second) < at_least; });
  Pairs pairs;
  for (const SinkEntry& entry : table.top_above(n, at_least)) pairs.emplace_back(entry.key, std::stoll(entry.text));
  ASSERT_EQ(pairs, expected);
}

std::string some_key(std::mt19937_64& random, int distinct) {
  const auto number = random() % static_cast<uint64_t>(distinct);
  return number % 7 == 0 ? "a key that is longer than a slot " + std::to_string(number) : std::to_string(number);
}

Model only(const Model& model, const std::set<std::string>& keys) {
  Model chosen;
  for (const std::string& key : keys) chosen[key] = model.at(key);
  return chosen;
}

// What a state table must do, said as plainly as possible: a whole copy of all values after each batch.
struct Reference {
  std::map<int64_t, Model> after{{0, {}}};
  std::set<std::string> changed, open, unpublished, publishing;
  [[nodiscard]] const Model& now() const { return after.rbegin()->second; }
};

void check_reads(const Table& table, const Reference& reference, std::mt19937_64& random, int distinct) {
  for (int i = 0; i < 30; ++i) {
    const std::string key = some_key(random, distinct);
    for (const auto& [batch, model] : reference.after) {
      const auto expected = model.find(key);
      const auto value = table.read(key, BatchId(batch));
      ASSERT_EQ(value.has_value(), expected != model.end()) << key << " at " << batch;
      if (value) {
        ASSERT_EQ(*value, std::to_string(expected->second)) << key << " at " << batch;
      }
    }
  }
}

void apply_random_batch(Table& table, Reference& reference, int64_t batch, std::mt19937_64& random, int distinct) {
  std::vector<Pairs> sections(random() % 4);
  Model now = reference.now();
  for (Pairs& section : sections) {
    std::set<std::string> seen;
    for (size_t i = random() % 120; i > 0; --i) {
      const std::string key = some_key(random, distinct);
      if (!seen.insert(key).second) continue;
      const int64_t by = static_cast<int64_t>(random() % 21) - 8;
      section.emplace_back(key, by);
      now[key] += by;
      reference.changed.insert(key);
      reference.unpublished.insert(key);
    }
  }
  ASSERT_TRUE(apply(table, batch, sections));
  reference.after[batch] = std::move(now);
}

TEST(KeyedState, agrees_with_a_full_copy_per_batch_under_random_operations) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const int distinct = 1 + static_cast<int>(random() % 3000);
    Table table(5);
    Reference reference;
    bool freeze_is_open = false;
    bool publication_is_open = false;
    int64_t batch = 0;
    for (int step = 0; step < 150; ++step) {
      switch (random() % 8) {
        case 0:
        case 1:
        case 2:
          batch += 1 + static_cast<int64_t>(random() % 2);  // Empty batches may not come at all.
          apply_random_batch(table, reference, batch, random, distinct);
          break;
        case 3:
          if (freeze_is_open) {
            const bool complete = random() % 2 == 0;
            table.settle_freeze(complete);
            if (!complete) reference.changed.merge(reference.open);
          } else {
            ASSERT_EQ(frozen(table), only(reference.now(), reference.changed));
            reference.open = std::exchange(reference.changed, {});
          }
          freeze_is_open = !freeze_is_open;
          break;
        case 4:
          if (publication_is_open) {
            const bool done = random() % 2 == 0;
            table.settle_publication(done);
            if (!done) reference.unpublished.merge(reference.publishing);
          } else {
            const bool all = random() % 4 == 0;
            reference.publishing = std::exchange(reference.unpublished, {});
            if (all) {
              for (const auto& [key, value] : reference.now()) reference.publishing.insert(key);
            }
            ASSERT_EQ(published(table, all), only(reference.now(), reference.publishing));
          }
          publication_is_open = !publication_is_open;
          break;
        case 5:
          if (random() % 2 == 0) {
            auto keep = reference.after.begin();
            std::advance(keep, random() % reference.after.size());
            table.forget_undo(BatchId(keep->first));
            reference.after.erase(reference.after.begin(), keep);
          }
          break;
        case 6: {
          const size_t n = random() % 4 == 0 ? random() % 1000 : random() % 12;
          if (random() % 2 == 0) {
            check_top_above(table, reference.now(), n, static_cast<double>(random() % 60));
          } else {
            ASSERT_EQ(top(table, n), ranked(reference.now(), n));
          }
          break;
        }
        default: check_reads(table, reference, random, distinct);
      }
      ASSERT_EQ(table.keys(), static_cast<int64_t>(reference.now().size()));
    }
  }
}

TEST(KeyedState, a_key_changed_by_several_sections_of_a_batch_keeps_one_old_value) {
  Table table(0);
  ASSERT_TRUE(apply(table, 1, {{{"a", 1}}, {{"a", 2}}}));
  ASSERT_TRUE(apply(table, 2, {{{"a", 10}}, {{"a", 20}, {"b", 1}}}));
  EXPECT_EQ(table.read("a", BatchId(0)), std::nullopt);
  EXPECT_EQ(table.read("a", BatchId(1)), "3");
  EXPECT_EQ(table.read("b", BatchId(1)), std::nullopt);
  EXPECT_EQ(table.read("a", BatchId(2)), "33");
}

TEST(KeyedState, a_restored_table_continues_where_the_checkpoint_ended) {
  Table table(3);
  std::string bytes;
  const auto entry = [&bytes](std::string_view key, int64_t value) {
    bytes.resize(Codec<int64_t>::size(value));
    Codec<int64_t>::encode(bytes.data(), value);
    return StateRun::Entry{StatePartition(0), key, bytes, false};
  };
  ASSERT_TRUE(table.restore(entry("base", 1), false));
  ASSERT_TRUE(table.restore(entry("both", 2), false));
  ASSERT_TRUE(table.restore(entry("both", 5), true));
  ASSERT_TRUE(table.restore(entry("newer", 7), true));
  EXPECT_EQ(table.keys(), 3);
  EXPECT_THAT(frozen(table), IsEmpty());
  table.settle_freeze(true);
  EXPECT_EQ(published(table, false), (Model{{"both", 5}, {"newer", 7}}));
  ASSERT_TRUE(apply(table, 41, {{{"base", 10}}}));
  EXPECT_EQ(table.read("base", BatchId(40)), "1");
  EXPECT_EQ(table.read("base", BatchId(41)), "11");
  EXPECT_EQ(frozen(table), (Model{{"base", 11}}));
  EXPECT_EQ(top(table, 10), (Pairs{{"base", 11}, {"newer", 7}, {"both", 5}}));
}

TEST(KeyedState, a_checkpoint_value_that_does_not_parse_is_corrupt) {
  Table table(0);
  for (const std::string& value : {std::string(), std::string(9, 'x'), std::string(11, '\xff')}) {
    const Status status = table.restore({StatePartition(0), "key", value, false}, false);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
  }
}

TEST(KeyedState, a_section_cut_anywhere_is_corrupt) {
  const std::string whole = section_of({{"one", 1}, {"a key that is longer than a slot", 2}, {"", 3}});
  for (size_t size = 0; size < whole.size(); ++size) {
    Table table(0);
    const auto exact = std::make_unique<char[]>(size);
    std::copy_n(whole.begin(), size, exact.get());
    const std::string_view section(exact.get(), size);
    const Status status = table.apply({BatchId(1)}, std::span(&section, 1));
    ASSERT_FALSE(status) << size;
    EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
  }
  Table table(0);
  const std::string more = whole + "x";
  const std::string_view section = more;
  EXPECT_FALSE(table.apply({BatchId(1)}, std::span(&section, 1)));
}

TEST(KeyedState, the_rank_is_exact_when_all_scores_tie) {
  Table table(10);
  Model model;
  std::mt19937_64 random(5);
  for (int64_t batch = 1; batch <= 20; ++batch) {
    Pairs pairs;
    for (int i = 0; i < 200; ++i) {
      const std::string key = std::to_string(random());
      if (model.emplace(key, 1).second) pairs.emplace_back(key, 1);
    }
    ASSERT_TRUE(apply(table, batch, {pairs}));
    ASSERT_EQ(top(table, 10), ranked(model, 10));
  }
}

TEST(KeyedState, the_rank_is_exact_after_the_highest_fell_below_all_others) {
  Table table(10);
  Model model;
  Pairs pairs;
  for (int i = 0; i < 3000; ++i) pairs.emplace_back(std::to_string(i), i);
  ASSERT_TRUE(apply(table, 1, {pairs}));
  for (const auto& [key, value] : pairs) model[key] += value;
  EXPECT_EQ(top(table, 10), ranked(model, 10));
  for (int64_t batch = 2; batch < 12; ++batch) {
    Pairs falls;
    for (const auto& [key, value] : ranked(model, 250)) falls.emplace_back(key, -value);
    ASSERT_TRUE(apply(table, batch, {falls}));
    for (const auto& [key, value] : falls) model[key] += value;
    ASSERT_EQ(top(table, 10), ranked(model, 10)) << batch;
    ASSERT_EQ(top(table, 5000), ranked(model, 5000)) << batch;
  }
}

TEST(KeyedState, the_rank_above_a_score_is_the_beginning_of_the_rank) {
  Table table(10);
  ASSERT_TRUE(apply(table, 1, {{{"a", 5}, {"b", 7}, {"c", 5}, {"d", 1}}}));
  EXPECT_THAT(table.top_above(10, 8), IsEmpty());
  EXPECT_EQ(table.top_above(10, 5).size(), 3U);
  EXPECT_EQ(table.top_above(2, 5).size(), 2U);
  EXPECT_EQ(table.top_above(2, 5).back().key, "a");
}

TEST(KeyedState, a_table_without_a_rank_has_no_top) {
  Table table(0);
  ASSERT_TRUE(apply(table, 1, {{{"a", 1}}}));
  EXPECT_THAT(table.top(10), IsEmpty());
}

TEST(KeyedState, memory_stays_bounded_while_old_values_are_forgotten) {
  Table table(10);
  int64_t most = 0;
  for (int64_t batch = 1; batch <= 2000; ++batch) {
    Pairs pairs;
    for (int i = 0; i < 50; ++i) pairs.emplace_back(std::to_string(i), 1);
    ASSERT_TRUE(apply(table, batch, {pairs}));
    table.forget_undo(BatchId(batch));
    if (batch == 10) most = table.memory_bytes();
  }
  EXPECT_LE(table.memory_bytes(), 2 * most);
}

}  // namespace
}  // namespace millrace
