// Scenarios on the simulated cluster, many seeds each, every seed run twice with equal trace hashes.
//
//   MILLRACE_SIM_SEEDS=N   seeds per scenario (default 20)
//   MILLRACE_SIM_SEED=K    only this one, with its events printed if MILLRACE_SIM_TRACE is set
//   MILLRACE_SIM_TYPE=T    all scenarios with jobs of this type, e.g. levels

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "common/base/check.h"
#include "tests/sim/scenarios.h"

namespace millrace {
namespace {

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::stoull(text);
}

class SimulatedCluster : public ::testing::TestWithParam<Scenario> {};

TEST_P(SimulatedCluster, is_exact_whatever_happens) {
  FLAGS_minloglevel = std::getenv("MILLRACE_SIM_SEED") == nullptr ? 3 : 0;
  const uint64_t only = number_from("MILLRACE_SIM_SEED", 0);
  const uint64_t first = only != 0 ? only : 1;
  const uint64_t last = only != 0 ? only : number_from("MILLRACE_SIM_SEEDS", 20);
  Scenario scenario = GetParam();
  if (const char* type = std::getenv("MILLRACE_SIM_TYPE"); type != nullptr) scenario.type = type;
  SimCounts counts;
  for (uint64_t seed = first; seed <= last; ++seed) {
    const Outcome outcome = run_scenario(scenario, seed);
    ASSERT_EQ(outcome.problem, "") << "seed " << seed << "; again with MILLRACE_SIM_SEED=" << seed
                                   << " --gtest_filter=*" << GetParam().name;
    counts += outcome.counts;
    ASSERT_EQ(run_scenario(scenario, seed).trace_hash, outcome.trace_hash)
        << "seed " << seed << " runs differently the second time";
  }
  std::cout << "[ SEEDS    ] " << last - first + 1 << "\n[ FAULTS   ] " << counts << "\n";
}

INSTANTIATE_TEST_SUITE_P(Scenarios, SimulatedCluster, ::testing::ValuesIn(scenarios().begin(), scenarios().end()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace millrace
