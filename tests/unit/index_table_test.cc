// An index against a whole copy of all counts after each batch, through everything that happens to a table.
#include "stream/index_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace millrace {
namespace {

using internal::IndexTable;
using testing::IsEmpty;
using testing::StartsWith;

using Counts = std::map<std::pair<std::string, std::string>, int64_t>;  // by key and member, none is 0
using Pairs = std::vector<std::pair<std::pair<std::string, std::string>, int64_t>>;
using Texts = std::map<std::string, std::string>;
using Members = std::vector<IndexMember>;

// What a reader of the sink sees.
struct Shown {
  Texts sizes;
  std::map<std::string, std::map<std::string, double>> members;
  bool operator==(const Shown&) const = default;
};

std::string varint(uint64_t value) {
  char bytes[kMaxVarintBytes];
  return {bytes, put_varint(bytes, value)};
}

std::string section_of(const Pairs& pairs) {
  std::string bytes = varint(pairs.size());
  for (const auto& [posting, count] : pairs) {
    const std::string key = varint(posting.first.size()) + posting.first + posting.second;
    bytes += varint(key.size()) + key;
    char encoded[kMaxVarintBytes];
    bytes.append(encoded, Codec<int64_t>::encode(encoded, count));
  }
  return bytes;
}

Status apply(IndexTable& table, int64_t batch, const std::vector<Pairs>& sections) {
  std::vector<std::string> bytes;
  for (const Pairs& pairs : sections) bytes.push_back(section_of(pairs));
  const std::vector<std::string_view> views(bytes.begin(), bytes.end());
  return table.apply({BatchId(batch)}, views);
}

Texts sizes(const Counts& counts) {
  std::map<std::string, int64_t> sizes;
  for (const auto& [posting, count] : counts) ++sizes[posting.first];
  Texts texts;
  for (const auto& [key, size] : sizes) texts[key] = std::to_string(size);
  return texts;
}

Shown shown(const Counts& counts) {
  Shown all{.sizes = sizes(counts), .members = {}};
  for (const auto& [posting, count] : counts) all.members[posting.first][posting.second] = static_cast<double>(count);
  return all;
}

Members members(const Counts& counts, const std::string& key) {
  Members members;
  for (const auto& [posting, count] : counts) {
    if (posting.first == key) members.push_back({posting.second, count});
  }
  std::ranges::stable_sort(members, std::greater<>(), &IndexMember::count);
  return members;
}

// Any bytes, and keys that begin with others.
std::string some_text(std::mt19937_64& random, size_t distinct) {
  const auto number = random() % distinct;
  if (number == 0) return "";
  if (number % 7 == 0) return "one that is longer than a slot " + std::to_string(number);
  if (number % 5 == 0) return std::string("\0\t", 2) + std::to_string(number);
  return std::to_string(number);
}

struct World {
  std::mt19937_64 random;
  size_t keys, each;
  std::unique_ptr<IndexTable> table = std::make_unique<IndexTable>(5, "text");
  std::map<int64_t, Counts> after{{0, {}}};
  int64_t batch = 0;
  std::vector<StateRun> chain;        // complete increments, the oldest first
  std::optional<StateRun> increment;  // of the open freeze
  Counts frozen_counts, checkpoint_counts;
  int64_t frozen_at = 0, checkpoint_at = 0;
  Shown sink, published;
  std::optional<std::vector<SinkEntry>> publication;
  bool publication_is_full = false;

  [[nodiscard]] const Counts& now() const { return after.rbegin()->second; }

  void run_batch() {
    batch += 1 + static_cast<int64_t>(random() % 2);
    std::vector<Pairs> sections(random() % 4);
    Counts counts = now();
    const auto add = [&](Pairs& section, const std::pair<std::string, std::string>& posting, int64_t by) {
      section.emplace_back(posting, by);
      int64_t& count = counts[posting];
      count += by;
      if (count == 0) counts.erase(posting);
    };
    const bool takes_away = random() % 3 == 0;
    for (Pairs& section : sections) {
      for (uint64_t i = random() % 100; i > 0; --i) {
        add(section, {some_text(random, keys), some_text(random, each)}, static_cast<int64_t>(random() % 5) - 1);
      }
      if (!takes_away) continue;
      for (const auto& [posting, count] : Counts(counts)) {
        if (random() % 4 != 0) add(section, posting, -count);
      }
    }
    const bool changes = counts != now();
    ASSERT_TRUE(apply(*table, batch, sections));
    if (changes) {
      ASSERT_TRUE(table->changed());
    }
    after[batch] = std::move(counts);
  }

  void freeze_or_settle() {
    if (!increment) {
      increment.emplace();
      table->freeze_all(StatePartition(0), *increment);
      frozen_counts = now();
      frozen_at = batch;
      return;
    }
    const bool complete = random() % 2 == 0;
    table->settle_freeze(complete);
    if (complete) {
      chain.push_back(*std::move(increment));
      checkpoint_counts = frozen_counts;
      checkpoint_at = frozen_at;
    }
    increment.reset();
  }

  // As a sink does it: in full, the members of a key that it has are forgotten where the key comes, and other keys go.
  static void publish(const std::vector<SinkEntry>& entries, bool all, Shown& into) {
    if (all) into.sizes.clear();
    for (const SinkEntry& entry : entries) {
      ASSERT_FALSE(all && entry.removed);
      const std::string key(entry.own_key());
      if (entry.is_member()) {
        into.members[key].erase(std::string(entry.member()));
        if (!entry.removed) into.members[key][std::string(entry.member())] = entry.score;
        continue;
      }
      if (all || entry.removed) into.members.erase(key);
      into.sizes.erase(key);
      if (!entry.removed) into.sizes[key] = entry.text;
    }
    std::erase_if(into.members, [&](const auto& list) { return !into.sizes.contains(list.first); });
  }
  void publish_or_settle() {
    if (!publication) {
      publication_is_full = table->must_publish_all() || random() % 4 == 0;
      publication = table->take_unpublished(publication_is_full);
      published = shown(now());
      return;
    }
    const bool done = random() % 2 == 0;
    table->settle_publication(done);
    if (done) {
      ASSERT_NO_FATAL_FAILURE(publish(*publication, publication_is_full, sink));
      ASSERT_EQ(sink, published);
    }
    publication.reset();
  }

  // `sink` stays as it is where all that a checkpoint may have changed in it is published again.
  void restart(bool by_others) {
    table = std::make_unique<IndexTable>(5, "text");
    if (by_others) {
      ASSERT_TRUE(table->restore_from({}));
    }
    for (const StateRun& run : chain) {
      for (size_t i = 0; i < run.size(); ++i) ASSERT_TRUE(table->restore(run[i], true));
    }
    table->finish_restore(0);
    increment.reset();
    publication.reset();
    batch = std::max(batch, checkpoint_at);
    after = {{batch, checkpoint_counts}};
    if (by_others) {
      chain.assign(1, {});
      table->freeze_all(StatePartition(0), chain.front());
      table->settle_freeze(true);
    }
    const bool all = random() % 2 == 0;
    Shown again;
    publish(table->take_unpublished(all), all, again);
    table->settle_publication(true);
    ASSERT_EQ(again, shown(now()));
    sink = again;
  }

  void check() {
    for (int i = 0; i < 3; ++i) {
      const std::string key = some_text(random, keys);
      for (const auto& [at, counts] : after) {
        SCOPED_TRACE(key + " at " + std::to_string(at));
        const Members all = members(counts, key);
        const auto size = table->read(key, BatchId(at));
        ASSERT_EQ(size, all.empty() ? std::nullopt : std::optional(std::to_string(all.size())));
        ASSERT_EQ(table->members(key, std::nullopt, 1'000'000, BatchId(at)), all);
        if (random() % 4 != 0) continue;
        Members paged;
        const size_t n = 1 + random() % (1 + all.size() / 2);
        for (std::optional<IndexMember> last;;) {
          const Members page = table->members(key, last, n, BatchId(at));
          paged.insert(paged.end(), page.begin(), page.end());
          ASSERT_LE(page.size(), n);
          if (page.size() < n) break;
          last = page.back();
        }
        ASSERT_EQ(paged, all);
      }
    }
  }
};

TEST(IndexTable, agrees_with_a_full_copy_per_batch_under_random_operations) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE(seed);
    World world{.random = std::mt19937_64(seed), .keys = 1, .each = 1};
    world.keys = 1 + world.random() % 12;
    world.each = 1 + world.random() % (seed % 2 == 0 ? 20 : 400);
    for (int step = 0; step < 100 && !testing::Test::HasFatalFailure(); ++step) {
      switch (world.random() % 8) {
        case 0:
        case 1:
        case 2: world.run_batch(); break;
        case 3: world.freeze_or_settle(); break;
        case 4: world.publish_or_settle(); break;
        case 5: {
          auto keep = world.after.begin();
          std::advance(keep, world.random() % world.after.size());
          world.table->forget_undo(BatchId(keep->first));
          world.after.erase(world.after.begin(), keep);
          break;
        }
        default:
          if (world.random() % 8 == 0) world.restart(world.random() % 4 == 0);
      }
      world.check();
      ASSERT_EQ(world.table->keys(), static_cast<int64_t>(sizes(world.now()).size()));
    }
  }
}

TEST(IndexTable, a_cursor_stands_between_members_though_its_own_has_gone) {
  IndexTable table(0, "text");
  ASSERT_TRUE(apply(table, 1, {{{{"k", "a"}, 3}, {{"k", "b"}, 2}, {{"k", "c"}, 2}, {{"k", "d"}, 1}}}));
  ASSERT_TRUE(apply(table, 2, {{{{"k", "b"}, -2}}}));
  EXPECT_EQ(table.members("k", IndexMember{"b", 2}, 1, BatchId(1)), (Members{{"c", 2}}));
  EXPECT_EQ(table.members("k", IndexMember{"b", 2}, 5, BatchId(2)), (Members{{"c", 2}, {"d", 1}}));
  EXPECT_EQ(table.members("k", IndexMember{"a", 2}, 5, BatchId(1)), (Members{{"b", 2}, {"c", 2}, {"d", 1}}));
  EXPECT_THAT(table.members("k", IndexMember{"d", 1}, 5, BatchId(2)), IsEmpty());
  EXPECT_THAT(table.members("", std::nullopt, 5, BatchId(2)), IsEmpty());
}

TEST(IndexTable, memory_stays_bounded_while_members_come_and_go) {
  IndexTable table(0, "text");
  int64_t highest = 0;
  for (int64_t batch = 1; batch <= 300; ++batch) {
    Pairs pairs;
    for (int64_t i = 0; i < 100; ++i) {
      const std::string key = std::to_string(batch % 2) + std::to_string(i % 10);
      pairs.push_back({{std::to_string(batch) + key, std::to_string(i)}, 1});
      if (batch > 1)
        pairs.push_back(
            {{std::to_string(batch - 1) + std::to_string((batch - 1) % 2) + std::to_string(i % 10), std::to_string(i)},
             -1});
    }
    ASSERT_TRUE(apply(table, batch, {pairs}));
    table.forget_undo(BatchId(batch));
    StateRun run;
    table.freeze_all(StatePartition(0), run);
    table.settle_freeze(true);
    std::ignore = table.take_unpublished(false);
    table.settle_publication(true);
    EXPECT_EQ(table.keys(), 10);
    if (batch == 30) highest = table.memory_bytes();
  }
  EXPECT_LE(table.memory_bytes(), 2 * highest);
}

TEST(IndexTable, what_is_no_posting_is_corrupt) {
  const std::string good = section_of({{{"k", "a"}, 1}});
  const std::string no_key = varint(1) + varint(1) + varint(5) + std::string(1, '\2');
  const std::vector<std::string_view> sections = {good, good, no_key};
  const Status applied = IndexTable(0, "text").apply({BatchId(7)}, sections);
  EXPECT_EQ(applied.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(applied.error().message, StartsWith("section 2 of batch 7 does not parse near byte 4"));
  StateRun run;
  run.add(StatePartition(0), varint(5) + "abc", "\2");
  EXPECT_EQ(IndexTable(0, "text").restore(run[0], true).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace millrace
