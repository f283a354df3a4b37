// Bugs planted in an index, as in planted_bugs_test.cc.

#include <gtest/gtest.h>

#include <vector>

#include "tests/sim/expect_caught.h"

namespace millrace {
namespace {

class HoardingTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override {
    auto entries = real_->take_unpublished(all);
    std::erase_if(entries, [](const SinkEntry& entry) { return entry.is_member() && entry.removed; });
    return entries;
  }
};

TEST(PlantedBug, a_posting_that_is_emptied_and_stays_in_the_sink_is_caught) {
  expect_caught("an_index_with_nothing_happening", plant_table<HoardingTable>);
}

// Now and then one, of whatever state.
class LosingTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  Status restore(const StateRun::Entry& entry, bool unpublished) override {
    return ++restored_ % 16 == 0 ? Status() : real_->restore(entry, unpublished);
  }

 private:
  int restored_ = 0;
};

TEST(PlantedBug, a_posting_that_is_lost_in_a_restore_is_caught) {
  expect_caught("an_index_where_anything_happens", plant_table<LosingTable>);
}

}  // namespace
}  // namespace millrace
