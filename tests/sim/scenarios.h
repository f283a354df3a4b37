// Scenarios on a SimCluster: what fate does to it, step by step, while lines are appended; then a quiet phase in which
// all must come to its end. What is expected is the Oracle's.
#pragma once

#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"

namespace millrace {

struct Scenario {
  const char* name;
  const char* type = "word_count";
  std::vector<std::string> jobs = {"job"};
  SimClusterOptions options;
  int steps = 40;                                       // of about 20 ms
  std::function<void(SimCluster&, SimRandom&)> strike;  // once a step
  const char* may_fail_by = nullptr;                    // the job may end failed with a problem that has this in it
};

struct Outcome {
  std::string problem;  // empty: all is as it should be
  SimCounts counts;
  uint64_t trace_hash = 0;
};

Outcome run_scenario(const Scenario& scenario, uint64_t seed);

// Those that a right engine passes.
std::span<const Scenario> scenarios();
const Scenario& scenario_named(const std::string& name);

inline void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

}  // namespace millrace
