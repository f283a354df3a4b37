// Bugs that are planted in what checkpoints hold: the oracle has to see each of them.

#include <gtest/gtest.h>

#include <utility>

#include "tests/sim/expect_caught.h"
#include "tests/sim/passing.h"

namespace millrace {
namespace {

// An increment that says nothing of keys that are gone.
class ElidingTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  void freeze(StatePartition self, StateRun& run) override {
    StateRun all;
    real_->freeze_all(self, all);
    for (size_t i = 0; i < all.size(); ++i) {
      if (!all[i].removed) run.add(all[i].partition, all[i].key, all[i].value);
    }
  }
};

// An increment of what the keys are when it comes to them, not of what they were.
class LateTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  void freeze(StatePartition, StateRun&) override { begun_ = true; }
  bool freeze_more(StatePartition self, StateRun& run, size_t keys) override {
    if (std::exchange(begun_, false)) real_->freeze(self, run);
    return real_->freeze_more(self, run, keys);
  }

 private:
  bool begun_ = false;
};

TEST(PlantedBug, a_checkpoint_of_what_came_after_its_batch_is_caught) {
  expect_caught("everything_dies", plant_table<LateTable>);
}

TEST(PlantedBug, a_removal_that_is_elided_from_an_increment_is_caught) {
  expect_caught("words_are_forgotten_with_nothing_happening", plant_table<ElidingTable>);
}

}  // namespace
}  // namespace millrace
