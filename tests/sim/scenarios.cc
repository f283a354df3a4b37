#include "tests/sim/scenarios.h"

#include <algorithm>
#include <cstdlib>

#include "common/base/check.h"
#include "tests/sim/append_job.h"
#include "tests/sim/chain_job.h"
#include "tests/sim/index_job.h"
#include "tests/sim/level_job.h"
#include "tests/sim/time_jobs.h"
#include "tests/sim/upgraded_job.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

void restart_a_worker(SimCluster& cluster, SimRandom& fate, double crash, double start) {
  const int index = static_cast<int>(fate.below(static_cast<uint64_t>(2)));
  if (cluster.has_worker(index)) {
    if (fate.chance(crash)) cluster.crash_worker(index);
  } else if (fate.chance(start)) {
    cluster.start_worker(index);
  }
}

void restart_the_master(SimCluster& cluster, SimRandom& fate, double crash, double start) {
  if (cluster.has_master()) {
    if (fate.chance(crash)) cluster.crash_master();
  } else if (fate.chance(start)) {
    cluster.start_master();
  }
}

void kill_executors(SimCluster& cluster, SimRandom& fate, double chance) {
  if (fate.chance(chance)) cluster.crash_executor(fate.next());
}

void everything_dies(SimCluster& cluster, SimRandom& fate) {
  restart_a_worker(cluster, fate, 0.1, 0.3);
  restart_the_master(cluster, fate, 0.06, 0.3);
  kill_executors(cluster, fate, 0.05);
}

void disks_fail(SimCluster& cluster, SimRandom& fate) {
  if (fate.chance(0.1)) cluster.metadata_disk().failure = Error{ErrorCode::kIo, "the disk is full"};
  if (fate.chance(0.3)) cluster.metadata_disk().failure.reset();
  if (fate.chance(0.1)) {
    cluster.checkpoint_disk().failure = [](auto, const std::string& name) {
      return std::optional<Error>(Error{ErrorCode::kIo, name + ": the disk is full"});
    };
  }
  if (fate.chance(0.3)) cluster.checkpoint_disk().failure = nullptr;
  restart_a_worker(cluster, fate, 0.05, 0.3);
}

void processes_are_cut_off(SimCluster& cluster, SimRandom& fate) {
  const std::string worker = "worker-" + std::to_string(fate.below(3));
  if (fate.chance(0.05)) cluster.world().cut_both_ways("master", worker);
  if (fate.chance(0.05)) cluster.world().cut(worker, "master");
  if (fate.chance(0.3)) cluster.world().heal();
  cluster.world().run_for(fate.chance(0.1) ? milliseconds(3000) : milliseconds(0));
}

// Both reach the master, and the cut may stay to the end.
void workers_are_cut_from_each_other(SimCluster& cluster, SimRandom& fate) {
  const int one = static_cast<int>(fate.below(3));
  const int other = (one + 1 + static_cast<int>(fate.below(2))) % 3;
  if (fate.chance(0.1)) cluster.cut_workers(one, other, fate.chance(0.5));
  if (fate.chance(0.03)) cluster.mend_workers();
  if (fate.chance(0.1)) cluster.world().run_for(fate.between(milliseconds(1000), milliseconds(8000)));
  kill_executors(cluster, fate, 0.02);
  restart_the_master(cluster, fate, 0.02, 0.3);
}

// Damages one file of a checkpoint, or takes it away. Of a library there is only one. A manifest is referred to when it
// is written; one that goes before that would look as if nobody had written it.
void damage_a_file(SimCluster& cluster, SimRandom& fate) {
  auto& files = cluster.checkpoint_disk().files;
  const auto is_referred_to = [&](const std::string& name) {
    return std::ranges::any_of(cluster.metadata_disk().values,
                               [&](const auto& entry) { return entry.second.find(name) != std::string::npos; });
  };
  std::vector<std::string> names;
  for (const auto& [name, bytes] : files) {
    if (!name.starts_with("job-") || name.ends_with(".so") || bytes.empty()) continue;
    if (!name.ends_with(".manifest") || is_referred_to(name)) names.push_back(name);
  }
  if (names.empty()) return;
  const std::string& name = names[fate.below(names.size())];
  std::string& bytes = files[name];
  if (fate.chance(0.3)) {
    files.erase(name);
  } else if (fate.chance(0.5)) {
    bytes.resize(fate.below(bytes.size()));
  } else {
    bytes[fate.below(bytes.size())] ^= static_cast<char>(1 << fate.below(8));
  }
}

void add_deaths(std::vector<Scenario>& all) {
  all.push_back({.name = "nothing_happens", .options = {.faults = SimFaults::none()}});
  all.push_back(
      {.name = "two_sum_with_nothing_happening", .type = "two_sum", .options = {.faults = SimFaults::none()}});
  all.push_back({.name = "the_network_misbehaves"});
  all.push_back({.name = "workers_die_on_a_good_network",
                 .options = {.workers = 3, .faults = SimFaults::none()},
                 .strike = [](SimCluster& cluster, SimRandom& fate) { restart_a_worker(cluster, fate, 0.1, 0.3); }});
  all.push_back({.name = "executors_die",
                 .type = "two_sum",
                 .options = {.workers = 3},
                 .strike = [](SimCluster& cluster, SimRandom& fate) { kill_executors(cluster, fate, 0.15); }});
  all.push_back({.name = "the_master_dies",
                 .options = {.faults = SimFaults::none()},
                 .strike = [](SimCluster& cluster, SimRandom& fate) { restart_the_master(cluster, fate, 0.15, 0.3); }});
  all.push_back({.name = "everything_dies", .type = "two_sum", .options = {.workers = 3}, .strike = everything_dies});
  all.push_back({.name = "the_sink_is_away_or_loses_its_data",
                 .type = kChainJob,
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   if (fate.chance(0.1)) cluster.sink().failure = Error{ErrorCode::kUnavailable, "the sink is away"};
                   if (fate.chance(0.2)) cluster.sink().failure.reset();
                   if (fate.chance(0.05)) cluster.sink().lose_all_data();
                   if (fate.chance(0.03)) cluster.sink().lose_values("job", fate.chance(0.5) ? "counts" : kChainCounts);
                   // Only the status says then whose keys they are.
                   const FakeSinkServer::Keys* keys = cluster.sink().find("job");
                   if (fate.chance(0.03) && keys != nullptr && !keys->status.empty()) {
                     cluster.sink().lose_fence("job");
                   }
                   restart_a_worker(cluster, fate, 0.03, 0.3);
                 }});
}

void add_troubles_of_machines(std::vector<Scenario>& all) {
  all.push_back({.name = "disks_fail", .options = {.workers = 3}, .strike = disks_fail});
  all.push_back(
      {.name = "processes_are_cut_off", .type = "two_sum", .options = {.workers = 3}, .strike = processes_are_cut_off});
  all.push_back({.name = "workers_are_cut_from_each_other",
                 .type = "two_sum",
                 .options = {.workers = 3},
                 .strike = workers_are_cut_from_each_other});
  all.push_back(
      {.name = "blocks_are_merged_in_order", .type = kChainJob, .options = {.workers = 3}, .strike = everything_dies});
  all.push_back({.name = "processes_are_frozen",
                 .type = "two_sum",
                 .options = {.workers = 3, .sink_most_ms = 40},
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   const Duration duration = fate.between(milliseconds(100), milliseconds(7000));
                   if (fate.chance(0.1)) cluster.freeze_executor(fate.next(), duration);
                   if (fate.chance(0.02)) cluster.freeze_master(duration);
                   if (fate.chance(0.06)) cluster.world().run_for(milliseconds(8000));
                 }});
}

// Soon after it was asked to go back, also before that is durable, anybody may die.
void go_back_and_die(SimCluster& cluster, SimRandom& fate) {
  if (fate.chance(0.3)) cluster.ask_to_stop("job");
  if (fate.chance(0.05)) cluster.ask_to_resume("job");
  if (fate.chance(0.5) && cluster.ask_to_go_back("job", fate.next())) {
    cluster.world().run_for(fate.between(milliseconds(0), milliseconds(60)));
    if (fate.chance(0.3)) cluster.crash_master();
  }
  if (fate.chance(0.2)) cluster.world().run_for(fate.between(milliseconds(100), milliseconds(1500)));
  if (fate.chance(0.03)) cluster.freeze_executor(fate.next(), fate.between(milliseconds(50), milliseconds(7000)));
  kill_executors(cluster, fate, 0.05);
  restart_the_master(cluster, fate, 0.02, 0.3);
}

// The same with a job that becomes another version of itself, and goes back to the one before.
void upgrade_and_die(SimCluster& cluster, SimRandom& fate) {
  if (fate.chance(0.3)) cluster.ask_to_stop("job");
  if (fate.chance(0.5) && cluster.ask_to_upgrade("job")) {
    cluster.world().run_for(fate.between(milliseconds(0), milliseconds(60)));
    if (fate.chance(0.3)) cluster.crash_master();
  }
  const bool started = cluster.has_master() && cluster.master()->started();
  if (fate.chance(0.05) && started) cluster.metadata_disk().failure = Error{ErrorCode::kIo, "the disk is full"};
  if (fate.chance(0.3)) cluster.metadata_disk().failure.reset();
  go_back_and_die(cluster, fate);
  restart_a_worker(cluster, fate, 0.04, 0.4);
}

void add_what_people_do(std::vector<Scenario>& all) {
  all.push_back(
      {.name = "workers_are_drained", .options = {.workers = 3}, .strike = [](SimCluster& cluster, SimRandom& fate) {
         if (fate.chance(0.1)) cluster.drain_worker(static_cast<int>(fate.below(3)));
         kill_executors(cluster, fate, 0.02);
         restart_the_master(cluster, fate, 0.02, 0.3);
       }});
  all.push_back({.name = "jobs_are_stopped_and_resumed",
                 .jobs = {"first", "second"},
                 .options = {.workers = 2},
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   const std::string name = fate.chance(0.5) ? "first" : "second";
                   if (fate.chance(0.1)) cluster.ask_to_stop(name);
                   if (fate.chance(0.2)) cluster.ask_to_resume(name);
                   kill_executors(cluster, fate, 0.05);
                   restart_the_master(cluster, fate, 0.03, 0.3);
                 }});
  all.push_back(
      {.name = "jobs_go_back_to_checkpoints", .options = {.workers = 3, .base_every = 3}, .strike = go_back_and_die});
  all.push_back({.name = "jobs_that_go_by_time_go_back_to_checkpoints",
                 .type = kWindowJob,
                 .options = {.workers = 3, .checkpoint_interval_ms = 30, .base_every = 3},
                 .strike = go_back_and_die});
  all.push_back({.name = "jobs_are_upgraded_and_go_back",
                 .type = kUpgradedJob,
                 .options = {.workers = 3, .base_every = 3},
                 .steps = 60,
                 .strike = upgrade_and_die});
  all.push_back({.name = "jobs_are_killed_and_submitted_again",
                 .jobs = {"first", "second"},
                 .options = {.workers = 2},
                 .steps = 25,
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   kill_executors(cluster, fate, 0.05);
                   if (fate.chance(0.1)) cluster.kill_and_submit("first", fate.chance(0.5));
                 }});
  all.push_back({.name = "the_master_dies_while_jobs_are_killed",
                 .jobs = {"first", "second"},
                 .options = {.workers = 2},
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   cluster.ask_to_submit_again("first");
                   if (fate.chance(0.2)) {
                     cluster.ask_to_kill("first", fate.chance(0.5));
                     cluster.world().run_for(fate.between(milliseconds(0), milliseconds(15)));
                     if (fate.chance(0.7)) cluster.crash_master();
                   }
                   // A master does not start on a disk that is full.
                   const bool started = cluster.has_master() && cluster.master()->started();
                   if (fate.chance(0.1) && started) {
                     cluster.metadata_disk().failure = Error{ErrorCode::kIo, "the disk is full"};
                   }
                   if (fate.chance(0.3)) cluster.metadata_disk().failure.reset();
                   kill_executors(cluster, fate, 0.02);
                   restart_the_master(cluster, fate, 0.0, 0.3);
                 }});
}

void add_troubles_of_data(std::vector<Scenario>& all) {
  all.push_back(
      {.name = "the_log_is_away_and_has_gaps", .type = "two_sum", .strike = [](SimCluster& cluster, SimRandom& fate) {
         if (fate.chance(0.1)) cluster.topic().set_available(false);
         if (fate.chance(0.3)) cluster.topic().set_available(true);
         if (fate.chance(0.3)) {
           cluster.topic().skip(LogPartition(static_cast<int32_t>(fate.below(3))),
                                static_cast<int64_t>(1 + fate.below(20)));
         }
         kill_executors(cluster, fate, 0.05);
       }});
  all.push_back({.name = "two_topics_grow",
                 .type = kChainJob,
                 .options = {.workers = 3, .topics = 2, .base_every = 3},
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   if (fate.chance(0.05)) cluster.topic().grow(static_cast<int32_t>(1 + fate.below(2)));
                   if (fate.chance(0.05)) cluster.world().run_for(fate.between(milliseconds(500), milliseconds(1500)));
                   kill_executors(cluster, fate, 0.05);
                   go_back_and_die(cluster, fate);
                 }});
  all.push_back({.name = "checkpoint_files_are_damaged",
                 .type = "two_sum",
                 .options = {.workers = 3, .base_every = 3},
                 .strike =
                     [](SimCluster& cluster, SimRandom& fate) {
                       if (fate.chance(0.04)) damage_a_file(cluster, fate);
                       kill_executors(cluster, fate, 0.1);
                       restart_the_master(cluster, fate, 0.02, 0.3);
                     },
                 .may_fail_by = "checkpoint"});
  all.push_back({.name = "kept_blocks_are_dropped_at_once",
                 .type = kChainJob,
                 .options = {.workers = 3, .checkpoint_interval_ms = 200, .lane_memory_bytes = 1},
                 .strike = [](SimCluster& cluster, SimRandom& fate) { kill_executors(cluster, fate, 0.15); }});
  all.push_back({.name = "one_partition_and_five_workers",
                 .options = {.workers = 5, .lanes = 1, .log_partitions = 1, .state_partitions = 1},
                 .strike = [](SimCluster& cluster, SimRandom& fate) { kill_executors(cluster, fate, 0.1); }});
  all.push_back({.name = "checkpoints_fail_for_a_while",
                 .type = "two_sum",
                 .options = {.workers = 3, .max_uncheckpointed = 5},
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   if (fate.chance(0.1)) {
                     cluster.checkpoint_disk().failure = [](auto, const std::string& name) {
                       return std::optional<Error>(Error{ErrorCode::kIo, name + ": the disk is full"});
                     };
                   }
                   if (fate.chance(0.05)) cluster.checkpoint_disk().failure = nullptr;
                   if (fate.chance(0.05)) cluster.ask_to_stop("job");
                   if (fate.chance(0.1)) cluster.ask_to_resume("job");
                   if (fate.chance(0.05)) cluster.drain_worker(static_cast<int>(fate.below(3)));
                   kill_executors(cluster, fate, 0.05);
                 }});
  all.push_back({.name = "bases_are_merged_all_the_time",
                 .type = "two_sum",
                 .options = {.workers = 3, .checkpoint_interval_ms = 20, .base_every = 1},
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   kill_executors(cluster, fate, 0.1);
                   disks_fail(cluster, fate);
                 }});
  all.push_back({.name = "recovery_is_struck_ten_times",
                 .type = kChainJob,
                 .options = {.workers = 3},
                 .steps = 12,
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   if (!fate.chance(0.15)) return;
                   for (int i = 0; i < 10; ++i) {
                     cluster.crash_executor(fate.next());
                     if (fate.chance(0.2)) cluster.crash_worker(static_cast<int>(fate.below(3)));
                     cluster.world().run_for(fate.between(milliseconds(1), milliseconds(400)));
                     cluster.start();
                   }
                 }});
}

// All kinds of trouble, with time to recover in between.
void anything_happens(SimCluster& cluster, SimRandom& fate) {
  restart_a_worker(cluster, fate, 0.04, 0.4);
  restart_the_master(cluster, fate, 0.03, 0.5);
  kill_executors(cluster, fate, 0.04);
  if (fate.chance(0.05)) cluster.sink().failure = Error{ErrorCode::kUnavailable, "the sink is away"};
  if (fate.chance(0.2)) cluster.sink().failure.reset();
  if (fate.chance(0.02)) cluster.sink().lose_all_data();
  if (fate.chance(0.02)) cluster.freeze_executor(fate.next(), fate.between(milliseconds(50), milliseconds(2000)));
  if (fate.chance(0.04)) cluster.drain_worker(static_cast<int>(fate.below(3)));
  if (fate.chance(0.03)) cluster.ask_to_stop("job");
  if (fate.chance(0.4)) cluster.ask_to_resume("job");
  if (fate.chance(0.1)) cluster.world().run_for(fate.between(milliseconds(100), milliseconds(1500)));
  if (fate.chance(0.05)) cluster.world().skew_wall(fate.between(seconds(-60), seconds(60)));
  if (fate.chance(0.05)) {
    cluster.checkpoint_disk().failure = [](auto, const std::string& name) {
      const bool of_a_job = !name.starts_with("probe/");  // no master starts without one
      return of_a_job ? std::optional<Error>(Error{ErrorCode::kIo, name + ": the disk is full"}) : std::nullopt;
    };
  }
  if (fate.chance(0.3)) cluster.checkpoint_disk().failure = nullptr;
}

void add_jobs_that_go_by_time(std::vector<Scenario>& all) {
  const SimClusterOptions options{.workers = 3, .checkpoint_interval_ms = 30, .base_every = 2};
  all.push_back({.name = "words_are_forgotten_with_nothing_happening",
                 .type = kFadingJob,
                 .options = {.faults = SimFaults::none()}});
  all.push_back(
      {.name = "words_are_forgotten", .type = kFadingJob, .options = options, .steps = 60, .strike = anything_happens});
  all.push_back(
      {.name = "words_cool_down", .type = kHeatJob, .options = options, .steps = 60, .strike = anything_happens});
  all.push_back({.name = "words_leave_the_window",
                 .type = kWindowJob,
                 .options = options,
                 .steps = 60,
                 .strike = anything_happens});
}

void add_jobs_by_event_time(std::vector<Scenario>& all) {
  const SimClusterOptions options{.workers = 3, .checkpoint_interval_ms = 30, .base_every = 2};
  all.push_back({.name = "event_windows_with_nothing_happening",
                 .type = kEventWindowsJob,
                 .options = {.faults = SimFaults::none()}});
  all.push_back({.name = "event_windows_where_everything_dies",
                 .type = kEventWindowsJob,
                 .options = options,
                 .strike = everything_dies});
  all.push_back({.name = "closed_windows_where_everything_dies",
                 .type = kClosedWindowsJob,
                 .options = options,
                 .strike = everything_dies});
}

void add_jobs_with_levels(std::vector<Scenario>& all) {
  const SimClusterOptions options{.workers = 3, .checkpoint_interval_ms = 30, .base_every = 2};
  all.push_back({.name = "a_join_by_three_levels_where_anything_happens",
                 .type = kJoinedWindowJob,
                 .options = options,
                 .steps = 60,
                 .strike = anything_happens});
  all.push_back({.name = "levels_with_nothing_happening", .type = kLevelJob, .options = {.faults = SimFaults::none()}});
  all.push_back({.name = "levels_where_everything_dies",
                 .type = kLevelJob,
                 .options = {.workers = 3},
                 .strike = everything_dies});
  all.push_back(
      {.name = "levels_go_by_time", .type = kFadingCountsJob, .options = options, .strike = anything_happens});
  all.push_back({.name = "levels_where_anything_happens",
                 .type = kLevelJob,
                 .options = options,
                 .steps = 60,
                 .strike = anything_happens});
}

void add_jobs_with_an_index(std::vector<Scenario>& all) {
  const SimClusterOptions options{.workers = 3, .checkpoint_interval_ms = 30, .base_every = 2};
  all.push_back({.name = "an_index_with_nothing_happening",
                 .type = kShrinkingIndexJob,
                 .options = {.faults = SimFaults::none()}});
  all.push_back({.name = "an_index_where_anything_happens",
                 .type = kIndexJob,
                 .options = options,
                 .steps = 60,
                 .strike = anything_happens});
  all.push_back({.name = "an_index_that_shrinks_where_anything_happens",
                 .type = kShrinkingIndexJob,
                 .options = options,
                 .steps = 60,
                 .strike = anything_happens});
  all.push_back({.name = "an_index_is_upgraded_and_goes_back",
                 .type = kShrinkingIndexJob,
                 .options = {.workers = 3, .base_every = 3},
                 .steps = 60,
                 .strike = upgrade_and_die});
}

// Half of the time while an output is away, and never long enough for what waits to be given up.
void outputs_fail(SimCluster& cluster, SimRandom& fate) {
  if (fate.chance(0.08)) cluster.output().failure = Error{ErrorCode::kIo, "the disk is full"};
  if (fate.chance(0.15)) cluster.output().failure.reset();
  if (fate.chance(0.03)) cluster.freeze_executor(fate.next(), fate.between(milliseconds(50), milliseconds(6000)));
}

void add_jobs_that_append(std::vector<Scenario>& all) {
  const SimClusterOptions options{.workers = 3, .checkpoint_interval_ms = 30, .base_every = 2};
  all.push_back(
      {.name = "appends_with_nothing_happening", .type = kAppendJob, .options = {.faults = SimFaults::none()}});
  all.push_back({.name = "appends_slowly_where_everything_dies",
                 .type = kAppendJob,
                 .options = {.workers = 3, .checkpoint_interval_ms = 30, .output_most_ms = 60},
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   everything_dies(cluster, fate);
                   outputs_fail(cluster, fate);
                 }});
  all.push_back({.name = "appends_changes_where_anything_happens",
                 .type = kAppendChangesJob,
                 .options = options,
                 .steps = 60,
                 .strike = [](SimCluster& cluster, SimRandom& fate) {
                   anything_happens(cluster, fate);
                   outputs_fail(cluster, fate);
                 }});
}

std::vector<Scenario> make_scenarios() {
  std::vector<Scenario> all;
  add_deaths(all);
  add_troubles_of_machines(all);
  add_what_people_do(all);
  add_troubles_of_data(all);
  add_jobs_that_go_by_time(all);
  add_jobs_by_event_time(all);
  add_jobs_with_levels(all);
  add_jobs_with_an_index(all);
  add_jobs_that_append(all);
  return all;
}

}  // namespace

std::span<const Scenario> scenarios() {
  static const std::vector<Scenario> all = make_scenarios();
  return all;
}

const Scenario& scenario_named(const std::string& name) {
  for (const Scenario& scenario : scenarios()) {
    if (scenario.name == name) return scenario;
  }
  LOG(FATAL) << "there is no scenario " << name;
}

Outcome run_scenario(const Scenario& scenario, uint64_t seed) {
  SimClusterOptions options = scenario.options;
  options.libraries = seed % 2 == 0;
  SimCluster cluster(seed, options);
  cluster.world().print_trace(std::getenv("MILLRACE_SIM_TRACE") != nullptr);
  cluster.start();
  for (const std::string& job : scenario.jobs) cluster.submit(job, scenario.type);
  SimRandom& fate = cluster.world().random("fate");
  for (int step = 0; step < scenario.steps && cluster.oracle().breach().empty(); ++step) {
    cluster.append_lines(static_cast<int>(fate.below(8)));
    if (scenario.strike) scenario.strike(cluster, fate);
    cluster.world().run_for(fate.between(milliseconds(1), milliseconds(40)));
  }
  Outcome outcome;
  if (!cluster.finish()) {
    outcome.problem = !cluster.oracle().breach().empty() ? cluster.oracle().breach() : "it does not catch up";
    for (const std::string& job : scenario.jobs) {
      const std::string failure = cluster.failure_of(job);
      const bool allowed = scenario.may_fail_by != nullptr && failure.find(scenario.may_fail_by) != std::string::npos;
      if (failure.empty() || !cluster.oracle().breach().empty()) continue;
      outcome.problem = allowed ? "" : "the job failed: " + failure;
    }
    if (!outcome.problem.empty()) outcome.problem += "\n" + cluster.state();
  }
  outcome.counts = cluster.counts();
  outcome.trace_hash = cluster.world().trace_hash();
  return outcome;
}

}  // namespace millrace
