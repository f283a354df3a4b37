// Pages of chains of state files, on the fake store and on a directory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>

#include "tests/conformance/checkpoint_disks.h"

namespace millrace {
namespace {

class StatePagesTest : public TestOnDisks {
 protected:
};

INSTANTIATE_TEST_SUITE_P(Stores, StatePagesTest, testing::Values(false, true),
                         [](const auto& row) { return row.param ? "Directory" : "Fake"; });

// Each key in one partition, as in a state.
StatePartition partition_of(const std::string& key) {
  return StatePartition(static_cast<int32_t>(key.size() + static_cast<size_t>(key.back())) % 4);
}

TEST_P(StatePagesTest, pages_of_a_chain_are_its_keys_in_their_order_whatever_partition_they_are_of) {
  std::mt19937 random(7);
  std::map<std::string, std::string> expected;
  StateSlice slice;
  for (int number = 0; number < 5; ++number) {
    std::map<std::string, std::string> changes;  // empty: removed
    for (int i = 0; i < 200; ++i) {
      const std::string key = "k" + std::to_string(random() % 500);
      changes[key] = random() % 4 == 0 ? "" : std::to_string(random());
    }
    // Two files each, of two partitions.
    for (const int half : {0, 1}) {
      StateRun run;
      for (const auto& [key, value] : changes) {
        if (partition_of(key).value() / 2 == half) run.add(partition_of(key), key, value, value.empty());
      }
      const StateFile file = write("file-" + std::to_string(number) + "-" + std::to_string(half), std::move(run));
      slice.sources.push_back({file, partitions({2 * half, 2 * half + 1})});
    }
    for (const auto& [key, value] : changes) {
      if (value.empty()) {
        expected.erase(key);
      } else {
        expected[key] = value;
      }
    }
  }
  slice.sources.push_back({write("empty", StateRun()), partitions({0})});
  const auto page_of = [&](StateSlice of) {
    auto shout = [](StateRun& run) -> Status {
      StateRun louder;
      for (size_t i = 0; i < run.size(); ++i) louder.add(run[i].partition, run[i].key, std::string(run[i].value) + "!");
      run = std::move(louder);
      return {};
    };
    return wait_for<StatePage>(loop(), [&](auto done) { store_->read_page(of, shout, std::move(done)); });
  };
  for (const std::string prefix : {"", "k", "k1", "k49", "k500", "z"}) {
    for (const size_t most : {1U, 7U, 1000U}) {
      slice.prefix = prefix;
      slice.after.reset();
      slice.most_entries = most;
      std::vector<std::string> seen;
      for (bool more = true; more;) {
        // Now and then somebody else reads in between, and this one goes on as if it had never begun.
        StateSlice other = slice;
        other.after = "k3";
        if (random() % 8 == 0) {
          for (int i = 0; i < 5; ++i) {
            auto between = page_of(other);
            ASSERT_TRUE(between.has_value()) << between.error();
            other.after.reset();
          }
        }
        auto page = page_of(slice);
        ASSERT_TRUE(page.has_value()) << page.error();
        ASSERT_LE(page->run.size(), most);
        for (const std::string& line : show(page->run)) seen.push_back(line);
        more = page->more;
        ASSERT_TRUE(!more || page->run.size() == most);
        if (more) slice.after = page->run[page->run.size() - 1].key;
      }
      std::vector<std::string> wanted;
      for (const auto& [key, value] : expected) {
        if (key.starts_with(prefix)) {
          wanted.push_back(std::to_string(partition_of(key).value()) + " " + key + "=" + value + "!");
        }
      }
      ASSERT_EQ(seen, wanted) << prefix << " by " << most;
    }
  }
  slice.prefix = "";
  slice.after.reset();
  slice.most_bytes = 1;
  EXPECT_EQ(page_of(slice)->run.size(), 1U) << "one always fits";
  const std::string bytes = disk_->bytes("file-4-1");
  disk_->set_bytes("file-4-1", bytes.substr(0, bytes.size() / 2));
  EXPECT_EQ(page_of(slice).error().code, ErrorCode::kCorrupt);
  slice.sources[3].file.name = "nowhere";
  slice.sources.erase(slice.sources.begin() + 4, slice.sources.end());
  EXPECT_EQ(page_of(slice).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace millrace
