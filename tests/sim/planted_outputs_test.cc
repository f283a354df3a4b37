// Bugs planted where jobs append, as in planted_bugs_test.cc.

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "tests/sim/expect_caught.h"
#include "tests/sim/passing.h"

namespace millrace {
namespace {

TEST(PlantedBug, an_output_that_appends_what_it_has_already_is_caught) {
  struct Forgetful : Plant {
    void cluster(SimCluster& cluster) override { cluster.output().remembers = false; }
  };
  expect_caught("appends_slowly_where_everything_dies", [] { return std::make_shared<Forgetful>(); });
}

// As if a checkpoint did not wait for what is on its way to an output.
class HastyOutput : public Output {
 public:
  explicit HastyOutput(std::unique_ptr<Output> real) : real_(std::move(real)) {}
  void claim(Done done) override { real_->claim(std::move(done)); }
  void release(Done done) override { real_->release(std::move(done)); }
  void enter(int32_t part, Generation generation, Done done) override {
    real_->enter(part, generation, std::move(done));
  }
  void append(OutputBatch batch, Done done) override {
    real_->append(std::move(batch), [](const Status&) {});
    done({});
  }

 private:
  const std::unique_ptr<Output> real_;
};

TEST(PlantedBug, a_checkpoint_that_does_not_wait_for_an_output_is_caught) {
  struct Hasty : Plant {
    std::unique_ptr<Output> output(std::unique_ptr<Output> real) override {
      return std::make_unique<HastyOutput>(std::move(real));
    }
  };
  expect_caught("appends_slowly_where_everything_dies", [] { return std::make_shared<Hasty>(); });
}

// As if an output's state kept nothing in checkpoints: what has one byte of a key is the number of its newest batch.
class AbsentMindedTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  void freeze(StatePartition self, StateRun& run) override {
    StateRun all;
    real_->freeze_all(self, all);
    for (size_t i = 0; i < all.size(); ++i) {
      const StateRun::Entry entry = all[i];
      if (entry.key.size() > 1) run.add(entry.partition, entry.key, entry.value, entry.removed);
    }
  }
};

TEST(PlantedBug, an_output_whose_checkpoints_do_not_say_how_far_it_had_come_is_caught) {
  expect_caught("appends_slowly_where_everything_dies", plant_table<AbsentMindedTable>);
}

}  // namespace
}  // namespace millrace
