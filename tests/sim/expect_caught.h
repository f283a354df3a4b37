// What a test of a planted bug does: it plants one, and the oracle has to notice it within a few seeds.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "common/base/check.h"
#include "tests/sim/passing.h"
#include "tests/sim/scenarios.h"

namespace millrace {

// Bugs in the tables and map tasks of a job.
class JobPlant : public Plant {
 public:
  explicit JobPlant(TableMaker table, MapMaker map = nullptr) : table_(std::move(table)), map_(std::move(map)) {}
  std::shared_ptr<const Job> job(std::shared_ptr<const Job> real) override {
    return std::make_shared<PassingJob>(std::move(real), table_, map_);
  }

 private:
  const TableMaker table_;
  const MapMaker map_;
};

template <typename Bug>
std::shared_ptr<Plant> plant_table() {
  return std::make_shared<JobPlant>(
      [](std::unique_ptr<StateTable> real) { return std::make_unique<Bug>(std::move(real)); });
}

// A plant per run: what it remembers is of one run. The scenario is one of those that a right engine passes.
inline void expect_caught(const std::string& scenario_name, const std::function<std::shared_ptr<Plant>()>& make_plant,
                          const std::function<void(SimCluster&, SimRandom&)>& also = nullptr,
                          const char* type = nullptr) {
  FLAGS_minloglevel = 3;
  Scenario scenario = scenario_named(scenario_name);
  if (type != nullptr) scenario.type = type;
  if (also) {
    scenario.strike = [real = scenario.strike, also](SimCluster& cluster, SimRandom& fate) {
      if (real) real(cluster, fate);
      also(cluster, fate);
    };
  }
  // A right engine has come to its end within seconds; what never does shall not cost ten minutes of its world.
  scenario.options.patience = std::chrono::minutes(1);
  constexpr uint64_t most = 40;  // how rare a bug's moment may be; not a load, so that no environment lowers it
  for (uint64_t seed = 1; seed <= most; ++seed) {
    scenario.options.plant = make_plant ? make_plant() : nullptr;
    const std::string problem = run_scenario(scenario, seed).problem;
    if (problem.empty()) continue;
    std::cout << "[ CAUGHT   ] with seed " << seed << ": " << problem.substr(0, problem.find('\n')) << "\n";
    const size_t oracle = problem.find("ORACLE");
    if (oracle == std::string::npos) std::cout << problem << "\n";
    return;
  }
  FAIL() << "not caught within " << most << " seeds of " << scenario_name;
}

}  // namespace millrace
