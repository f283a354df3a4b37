// Values that come, change, go and come back, against a whole copy of all values after each batch.
#include "stream/versioned_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

using Model = std::map<std::string, int64_t>;
using Texts = std::map<std::string, std::string>;
using Ranked = std::vector<std::pair<std::string, std::string>>;

// One value on the heap, with a rank.
struct Boxed {
  std::string number;
  MILLRACE_FIELDS(Boxed, number)
  [[nodiscard]] std::string text() const { return number; }
  [[nodiscard]] double score() const { return std::stod(number); }
};
template <typename V>
V value_of(int64_t number) {
  if constexpr (std::same_as<V, Boxed>) {
    return {std::to_string(number)};
  } else {
    return number;
  }
}

template <typename V>
class Table final : public internal::VersionedTable<V> {
 public:
  using internal::VersionedTable<V>::VersionedTable;

  Status apply(const BatchContext&, std::span<const std::string_view>) override { return {}; }

  void begin(int64_t batch) { this->begin_batch(BatchId(batch)); }
  void end() { this->end_batch(); }
  void put(std::string_view key, int64_t number) { this->set(this->open(HashedKey::of(key)), value_of<V>(number)); }
  void add(std::string_view key, int64_t number) {
    this->change(this->open(HashedKey::of(key)), [&](V& value, bool fresh) {
      const int64_t before = fresh ? 0 : std::stoll(text_of(value));
      value = value_of<V>(before + number);
    });
  }
  void take_out(std::string_view key) {
    const ByteSlot slot = this->find(HashedKey::of(key));
    if (slot != kNoByteSlot) this->remove(slot);
  }
  void batch(int64_t number, const std::function<void(Table&)>& changes) {
    begin(number);
    changes(*this);
    end();
  }
};

using Kinds = testing::Types<int64_t, Boxed>;
template <typename V>
class Removal : public testing::Test {};
TYPED_TEST_SUITE(Removal, Kinds);

std::string some_key(std::mt19937_64& random, int distinct) {
  const auto number = random() % static_cast<uint64_t>(distinct);
  return number % 7 == 0 ? "a key that is longer than a slot " + std::to_string(number) : std::to_string(number);
}

Texts texts(const Model& model) {
  Texts texts;
  for (const auto& [key, value] : model) texts[key] = std::to_string(value);
  return texts;
}

Ranked ranked(const Model& model, size_t n) {
  std::vector<std::pair<std::string, int64_t>> all(model.begin(), model.end());
  std::ranges::sort(
      all, [](const auto& a, const auto& b) { return a.second != b.second ? a.second > b.second : a.first < b.first; });
  Ranked first;
  for (size_t i = 0; i < std::min(n, all.size()); ++i) first.emplace_back(all[i].first, std::to_string(all[i].second));
  return first;
}

Ranked pairs(const std::vector<SinkEntry>& entries) {
  Ranked pairs;
  for (const SinkEntry& entry : entries) pairs.emplace_back(entry.key, entry.text);
  return pairs;
}

// What a reader of the sink and of the checkpoints sees, and what should be there.
template <typename V>
struct World {
  static constexpr size_t kRank = 5;
  std::mt19937_64 random;
  int distinct;
  std::unique_ptr<Table<V>> table = std::make_unique<Table<V>>(kRank);
  std::map<int64_t, Model> after{{0, {}}};
  int64_t batch = 0;
  std::vector<StateRun> chain;        // complete increments, the oldest first
  std::optional<StateRun> increment;  // of the open freeze
  bool more_to_freeze = false;
  Model frozen_model, checkpoint_model;
  int64_t frozen_at = 0, checkpoint_at = 0;
  Texts sink, published_model;
  std::optional<std::vector<SinkEntry>> publication;
  bool publication_is_full = false;

  [[nodiscard]] const Model& now() const { return after.rbegin()->second; }

  void run_batch() {
    batch += 1 + static_cast<int64_t>(random() % 2);
    Model model = now();
    table->begin(batch);
    const uint64_t mood = random() % 4;  // some batches mostly remove
    for (uint64_t i = random() % 200; i > 0; --i) {
      const std::string key = some_key(random, distinct);
      const auto number = static_cast<int64_t>(random() % 50);
      const uint64_t what = random() % 4;
      if (what < mood) {
        table->take_out(key);
        model.erase(key);
      } else if (what % 2 == 0) {
        table->put(key, number);
        model[key] = number;
      } else {
        table->add(key, number - 20);
        model[key] += number - 20;
      }
    }
    if (random() % 8 == 0) {  // all at once
      for (const auto& [key, value] : std::exchange(model, {})) table->take_out(key);
    }
    table->end();
    after[batch] = std::move(model);
  }

  void freeze_or_settle() {
    if (!increment) {
      increment.emplace();
      table->freeze(StatePartition(0), *increment);
      more_to_freeze = true;
      frozen_model = now();
      frozen_at = batch;
      return;
    }
    if (more_to_freeze && random() % 4 != 0) {
      more_to_freeze = table->freeze_more(StatePartition(0), *increment, 1 + random() % 50);
      return;
    }
    const bool complete = !more_to_freeze && random() % 2 == 0;
    table->settle_freeze(complete);
    if (complete) {
      chain.push_back(*std::move(increment));
      checkpoint_model = frozen_model;
      checkpoint_at = frozen_at;
    }
    increment.reset();
  }

  void publish_or_settle() {
    if (!publication) {
      publication_is_full = table->must_publish_all() || random() % 4 == 0;
      publication = table->take_unpublished(publication_is_full);
      published_model = texts(now());
      return;
    }
    const bool done = random() % 2 == 0;
    table->settle_publication(done);
    if (done) {
      if (publication_is_full) sink.clear();
      for (const SinkEntry& entry : *publication) {
        ASSERT_FALSE(publication_is_full && entry.removed);
        if (entry.removed) {
          sink.erase(entry.key);
        } else {
          sink[entry.key] = entry.text;
        }
      }
      ASSERT_EQ(sink, published_model);
    }
    publication.reset();
  }

  void restart() {
    table = std::make_unique<Table<V>>(kRank);
    for (const StateRun& run : chain) {
      for (size_t i = 0; i < run.size(); ++i) ASSERT_TRUE(table->restore(run[i], true));
    }
    increment.reset();
    publication.reset();
    batch = std::max(batch, checkpoint_at);
    after = {{batch, checkpoint_model}};
    sink = {};
    for (const SinkEntry& entry : table->take_unpublished(true)) sink[entry.key] = entry.text;
    table->settle_publication(true);
    ASSERT_EQ(sink, texts(now()));
  }

  void check() {
    for (int i = 0; i < 20; ++i) {
      const std::string key = some_key(random, distinct);
      for (const auto& [at, model] : after) {
        const auto expected = model.find(key);
        const auto value = table->read(key, BatchId(at));
        ASSERT_EQ(value.has_value(), expected != model.end()) << key << " at " << at;
        if (value) {
          ASSERT_EQ(*value, std::to_string(expected->second)) << key << " at " << at;
        }
      }
    }
  }
};

TYPED_TEST(Removal, agrees_with_a_full_copy_per_batch_under_random_operations) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    World<TypeParam> world{.random = std::mt19937_64(seed), .distinct = 1};
    world.distinct = 1 + static_cast<int>(world.random() % (seed % 2 == 0 ? 40 : 4000));
    for (int step = 0; step < 200 && !testing::Test::HasFatalFailure(); ++step) {
      switch (world.random() % 9) {
        case 0:
        case 1:
        case 2:
        case 3: world.run_batch(); break;
        case 4: world.freeze_or_settle(); break;
        case 5: world.publish_or_settle(); break;
        case 6: {
          auto keep = world.after.begin();
          std::advance(keep, world.random() % world.after.size());
          world.table->forget_undo(BatchId(keep->first));
          world.after.erase(world.after.begin(), keep);
          break;
        }
        case 7: {
          const size_t n = world.random() % 4 == 0 ? world.random() % 1000 : world.random() % 12;
          ASSERT_EQ(pairs(world.table->top(n)), ranked(world.now(), n));
          const auto at_least = static_cast<double>(world.random() % 60);
          Ranked above = ranked(world.now(), n);
          std::erase_if(above, [&](const auto& pair) { return std::stod(pair.second) < at_least; });
          ASSERT_EQ(pairs(world.table->top_above(n, at_least)), above);
          break;
        }
        default:
          if (world.random() % 8 == 0) world.restart();
      }
      world.check();
      ASSERT_EQ(world.table->keys(), static_cast<int64_t>(world.now().size()));
    }
  }
}

TYPED_TEST(Removal, each_version_of_a_key_that_went_and_came_back_can_be_read) {
  Table<TypeParam> table(0);
  table.batch(10, [](auto& t) { t.put("a", 5); });
  table.batch(11, [](auto& t) { t.take_out("a"); });
  table.batch(12, [](auto& t) { t.put("a", 7); });
  table.batch(13, [](auto& t) {
    t.take_out("a");
    t.add("a", 1);
    t.add("a", 1);
  });
  table.batch(14, [](auto& t) {
    t.put("a", 3);
    t.take_out("a");
  });
  const std::vector<std::optional<std::string>> expected{std::nullopt, "5", std::nullopt, "7", "2", std::nullopt};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(table.read("a", BatchId(9 + static_cast<int64_t>(i))), expected[i]) << i;
  }
  EXPECT_EQ(table.keys(), 0);
  EXPECT_THAT(table.take_unpublished(true), IsEmpty());
}

// One dead cell is named by one thing alone while the table is rebuilt several times, and others are dropped.
TYPED_TEST(Removal, dead_cells_are_dropped_only_when_nothing_names_them) {
  for (const std::string by : {"undo", "changed", "frozen", "unpublished", "publishing"}) {
    SCOPED_TRACE(by);
    Table<TypeParam> table(3);
    const auto settle = [&](bool freeze, bool publish) {
      StateRun run;
      if (freeze) table.freeze_all(StatePartition(0), run), table.settle_freeze(true);
      if (publish) std::ignore = table.take_unpublished(false), table.settle_publication(true);
    };
    table.batch(1, [](auto& t) {
      t.put("gone", 41);
      for (int i = 0; i < 300; ++i) t.put("passing " + std::to_string(i), i);
    });
    table.batch(2, [](auto& t) {
      for (int i = 0; i < 300; ++i) t.take_out("passing " + std::to_string(i));
    });
    settle(true, true);
    table.forget_undo(BatchId(2));
    table.batch(3, [](auto& t) { t.take_out("gone"); });
    EXPECT_THAT(table.top(5), IsEmpty());
    if (by != "undo") table.forget_undo(BatchId(3));
    settle(by != "changed" && by != "frozen", by != "unpublished" && by != "publishing");
    StateRun run;
    if (by == "frozen") table.freeze(StatePartition(0), run);
    if (by == "publishing") std::ignore = table.take_unpublished(false);

    table.batch(4, [](auto& t) {
      for (int i = 0; i < 5000; ++i) t.put("living " + std::to_string(i), i);
    });
    EXPECT_EQ(pairs(table.top(1)), (Ranked{{"living 4999", "4999"}}));
    if (by == "undo") {
      EXPECT_EQ(table.read("gone", BatchId(2)), "41");
      EXPECT_EQ(table.read("gone", BatchId(3)), std::nullopt);
    }
    if (by == "frozen") {
      table.settle_freeze(false);
      run = {};
    }
    std::vector<std::string> removed;
    if (by == "changed" || by == "frozen") {
      table.freeze_all(StatePartition(0), run);
      for (size_t i = 0; i < run.size(); ++i) {
        if (run[i].removed) removed.emplace_back(run[i].key);
      }
    }
    if (by == "publishing") table.settle_publication(false);
    if (by == "unpublished" || by == "publishing") {
      for (const SinkEntry& entry : table.take_unpublished(false)) {
        if (entry.removed) removed.push_back(entry.key);
      }
    }
    if (by != "undo") {
      EXPECT_THAT(removed, ElementsAre("gone"));
    }
  }
}

TYPED_TEST(Removal, keys_that_come_and_go_leave_no_memory_behind) {
  Table<TypeParam> table(10);
  int64_t most = 0;
  for (int64_t batch = 1; batch <= 3000; ++batch) {
    table.batch(batch, [&](auto& t) {
      for (int64_t i = 0; i < 50; ++i) t.put("a key of some length " + std::to_string(batch * 50 + i), i);
      for (int64_t i = 0; i < 50; ++i) t.take_out("a key of some length " + std::to_string((batch - 5) * 50 + i));
    });
    table.forget_undo(BatchId(batch));
    if (batch % 10 == 0) {
      StateRun run;
      table.freeze_all(StatePartition(0), run);
      table.settle_freeze(true);
      std::ignore = table.take_unpublished(false);
      table.settle_publication(true);
    }
    ASSERT_EQ(table.keys(), 50 * std::min<int64_t>(batch, 5));
    if (batch == 100) most = table.memory_bytes();
  }
  EXPECT_LE(table.memory_bytes(), 2 * most);
}

TYPED_TEST(Removal, without_a_publication_removed_keys_are_forgotten_and_all_keys_are_asked_for) {
  Table<TypeParam> table(0);
  Texts sink;
  const auto publish = [&](bool done) {
    const bool all = table.must_publish_all();
    const auto entries = table.take_unpublished(all);
    table.settle_publication(done);
    if (!done) return;
    if (all) sink.clear();
    for (const SinkEntry& entry : entries) {
      if (entry.removed) {
        sink.erase(entry.key);
      } else {
        sink[entry.key] = entry.text;
      }
    }
  };
  int64_t most = 0;
  for (int64_t batch = 1; batch <= 1000; ++batch) {
    table.batch(batch, [&](auto& t) {
      for (int64_t i = 0; i < 50; ++i) t.put(std::to_string(batch * 50 + i), i);
      for (int64_t i = 0; i < 50; ++i) t.take_out(std::to_string((batch - 5) * 50 + i));
    });
    table.forget_undo(BatchId(batch));
    StateRun run;
    table.freeze_all(StatePartition(0), run);
    table.settle_freeze(true);
    if (batch == 3 || batch == 500 || batch == 800) publish(batch != 800);
    if (batch == 3) {
      EXPECT_EQ(sink.size(), 150U);
    }
    if (batch == 100) most = table.memory_bytes();
  }
  EXPECT_LE(table.memory_bytes(), 2 * most);
  ASSERT_TRUE(table.must_publish_all());
  publish(true);
  EXPECT_FALSE(table.must_publish_all());
  EXPECT_EQ(sink.size(), 250U);
  EXPECT_TRUE(sink.contains("50049"));
}

TYPED_TEST(Removal, a_failed_publication_of_all_keys_does_not_hide_that_removals_were_forgotten) {
  Table<TypeParam> table(0);
  table.batch(1, [](auto& t) {
    for (int i = 0; i < 5000; ++i) t.put(std::to_string(i), i);
  });
  std::ignore = table.take_unpublished(false);
  table.settle_publication(true);
  table.batch(2, [](auto& t) {
    for (int i = 0; i < 4999; ++i) t.take_out(std::to_string(i));
  });
  ASSERT_TRUE(table.must_publish_all());
  EXPECT_THAT(pairs(table.take_unpublished(true)), ElementsAre(Pair("4999", "4999")));
  EXPECT_FALSE(table.must_publish_all());
  table.settle_publication(false);
  EXPECT_TRUE(table.must_publish_all());
}

TYPED_TEST(Removal, a_table_says_whether_its_newest_batch_changed_anything) {
  Table<TypeParam> table(0);
  table.batch(1, [](auto& t) { t.put("a", 1); });
  EXPECT_TRUE(table.changed());
  table.batch(2, [](auto& t) { t.take_out("none"); });
  EXPECT_FALSE(table.changed());
  table.batch(3, [](auto& t) { t.take_out("a"); });
  EXPECT_TRUE(table.changed());
}

TYPED_TEST(Removal, the_rank_follows_keys_that_vanish_and_come_back) {
  Table<TypeParam> table(10);
  Model model;
  int64_t batch = 0;
  std::mt19937_64 random(3);
  const auto put = [&](auto& t, const std::string& key, int64_t value) { t.put(key, model[key] = value); };
  table.batch(++batch, [&](auto& t) {
    for (int i = 0; i < 2000; ++i) put(t, std::to_string(i), i);
  });
  ASSERT_EQ(pairs(table.top(10)), ranked(model, 10));
  for (int round = 0; round < 30; ++round) {
    const auto highest = ranked(model, 1 + random() % 200);
    table.batch(++batch, [&](auto& t) {
      for (const auto& [key, value] : highest) {
        t.take_out(key);
        model.erase(key);
      }
      if (round % 3 == 0) {  // The same batch brings some of them back, lower.
        for (size_t i = 0; i < highest.size(); i += 2) put(t, highest[i].first, static_cast<int64_t>(random() % 900));
      }
    });
    ASSERT_EQ(pairs(table.top(10)), ranked(model, 10)) << round;
    ASSERT_EQ(pairs(table.top_above(10, 300)).size(), std::ranges::count_if(ranked(model, 10), [](const auto& pair) {
                return std::stoll(pair.second) >= 300;
              }));
  }
  table.batch(++batch, [&](auto& t) {
    for (const auto& [key, value] : model) t.take_out(key);
  });
  EXPECT_THAT(table.top(10), IsEmpty());
  EXPECT_THAT(table.top_above(10, 0), IsEmpty());
  table.batch(++batch, [&](auto& t) { t.put("7", 1); });
  EXPECT_THAT(pairs(table.top(10)), ElementsAre(Pair("7", "1")));
}

TYPED_TEST(Removal, a_restored_removal_undoes_older_files_and_is_published) {
  Table<TypeParam> first(0);
  StateRun base;
  StateRun increment;
  first.batch(1, [](auto& t) { t.put("a", 1), t.put("b", 2); });
  first.freeze_all(StatePartition(0), base);
  first.settle_freeze(true);
  first.batch(2, [](auto& t) { t.take_out("a"); });
  first.freeze_all(StatePartition(0), increment);
  Table<TypeParam> second(0);
  for (size_t i = 0; i < base.size(); ++i) ASSERT_TRUE(second.restore(base[i], false));
  for (size_t i = 0; i < increment.size(); ++i) ASSERT_TRUE(second.restore(increment[i], true));
  EXPECT_EQ(second.keys(), 1);
  EXPECT_EQ(second.read("a", BatchId(2)), std::nullopt);
  EXPECT_EQ(second.read("b", BatchId(2)), "2");
  const auto entries = second.take_unpublished(false);
  ASSERT_THAT(entries, SizeIs(1));
  EXPECT_TRUE(entries[0].removed);
  EXPECT_EQ(entries[0].key, "a");
}

}  // namespace
}  // namespace millrace
