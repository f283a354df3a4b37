// Faults that are expected to be ended in a certain way, not only to do no harm: how often, how soon, what is said.

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/wire/codec.h"
#include "tests/sim/cluster.h"
#include "tests/sim/passing.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

api::JobSummary summary_of(SimCluster& cluster) {
  return cluster.master()->find_job("job")->summary();
}

bool says(SimCluster& cluster, const std::string& words) {
  return summary_of(cluster).problem.find(words) != std::string::npos;
}

TEST(WorkersThatCannotReachEachOther, do_not_take_turns_and_the_job_goes_on) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 2, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  const uint64_t before = cluster.counts().assignments;

  cluster.cut_workers(0, 1, true);
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return says(cluster, "cannot reach each other"); }, seconds(15)))
      << cluster.state();
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(5))) << cluster.state();
  // The newcomers are cut off too; the pauses before them grow, so that most of the time the job is at work.
  int caught_up = 0;
  for (int i = 0; i < 100; ++i) {
    cluster.append_lines(5);
    caught_up += cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(6)) ? 1 : 0;
    cluster.world().run_for(seconds(5));
  }
  EXPECT_GT(caught_up, 90) << cluster.state();
  EXPECT_LT(cluster.counts().assignments - before, 40) << cluster.state();

  cluster.mend_workers();
  const auto both_work = [&] { return cluster.master()->find_job("job")->describe().executors.size() == 2; };
  EXPECT_TRUE(cluster.world().run_until(both_work, minutes(3))) << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST(SinkThatFencesEverybody, is_tried_more_and_more_seldom_and_named) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 2, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  const uint64_t before = cluster.counts().assignments;

  cluster.sink().fences_everybody = true;
  cluster.append_lines(20);
  cluster.world().run_for(minutes(5));
  EXPECT_LT(cluster.counts().assignments - before, 25) << cluster.state();
  EXPECT_GT(cluster.counts().assignments - before, 5) << cluster.state();
  EXPECT_TRUE(says(cluster, "younger owner")) << cluster.state();

  cluster.sink().fences_everybody = false;
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, minutes(1))) << cluster.state();
  EXPECT_TRUE(cluster.world().run_until([&] { return summary_of(cluster).problem.empty(); }, seconds(10)))
      << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

// Files of the job that its checkpoints do not name.
std::set<std::string> unnamed_files(SimCluster& cluster) {
  std::set<std::string> unnamed;
  for (const auto& [name, bytes] : cluster.checkpoint_disk().files) {
    if (name.starts_with("job-")) unnamed.insert(name);
  }
  for (const wire::CheckpointRef& reference : cluster.master()->find_job("job")->record().checkpoints) {
    unnamed.erase(reference.name);
    const auto manifest = decode_record<wire::Manifest>(cluster.checkpoint_disk().files.at(reference.name));
    CHECK(manifest.has_value());
    for (const wire::CheckpointFile& file : manifest->files) unnamed.erase(file.name);
  }
  return unnamed;
}

TEST(AbandonedCheckpoints, leave_no_files_behind_and_take_none_along) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(3, {.workers = 3, .checkpoint_interval_ms = 20, .base_every = 3, .searches = 0});
  cluster.start();
  cluster.submit("job", "word_count");
  for (int i = 0; i < 60; ++i) {
    cluster.append_lines(10);
    cluster.world().run_for(milliseconds(30));
    if (i % 2 == 1) cluster.crash_executor(static_cast<uint64_t>(i));
    if (i % 20 != 19) continue;
    cluster.crash_master();
    cluster.start_master();
    ASSERT_TRUE(cluster.world().run_until([&] { return cluster.master()->started(); }, seconds(10)));
  }
  ASSERT_TRUE(cluster.finish()) << cluster.state();
  const JobController& job = *cluster.master()->find_job("job");
  const std::string folder = checkpoint_folder("job", job.id(), Incarnation(1)) + "/";
  const std::string epoch = std::to_string(cluster.master()->epoch().value());
  const std::string next_epoch = std::to_string(cluster.master()->epoch().value() + 1);
  auto& files = cluster.checkpoint_disk().files;
  for (const char* name : {"1-999999-00000000deadbeef.sst", "1-3-00000000deadbeef-base.sst"}) {
    files[folder + name] = "of a former master";
  }
  files[folder + epoch + "-1-00000000deadbeef.sst"] = "of an executor that is dead";
  files[folder + next_epoch + "-1-00000000deadbeef.sst"] = "of a master to come";
  // Once more checkpoints are complete.
  for (int i = 0; i < 40; ++i) {
    cluster.append_lines(3);
    cluster.world().run_for(milliseconds(50));
  }
  const std::set<std::string> left = {folder + next_epoch + "-1-00000000deadbeef.sst"};
  EXPECT_TRUE(cluster.world().run_until([&] { return unnamed_files(cluster) == left; }, seconds(10)))
      << ::testing::PrintToString(unnamed_files(cluster));
  // All is there for those that have to restore.
  cluster.crash_worker(0);
  cluster.crash_worker(1);
  EXPECT_TRUE(cluster.finish()) << cluster.state();
  EXPECT_EQ(cluster.counts().restore_failures, 0u);
}

bool is_stopped(SimCluster& cluster) {
  return cluster.master()->find_job("job")->phase() == JobController::Phase::kStopped;
}

TEST(Stop, of_a_job_without_workers_does_not_wait_for_them) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 1, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.checkpoint_disk().timing.latency = [] {
    return Duration(seconds(5));
  };  // of what it has applied there is none
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  cluster.crash_worker(0);
  cluster.checkpoint_disk().timing.latency = [] { return Duration(milliseconds(1)); };
  cluster.append_lines(20);
  cluster.world().run_for(seconds(3));
  cluster.ask_to_stop("job");
  EXPECT_TRUE(cluster.world().run_until([&] { return is_stopped(cluster); }, seconds(2))) << cluster.state();
  EXPECT_TRUE(says(cluster, "no worker was there")) << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST(Stop, of_a_job_without_workers_waits_for_a_manifest_that_is_being_written) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 1, .faults = SimFaults::none()});
  Duration latency = milliseconds(1);
  cluster.checkpoint_disk().timing.latency = [&] { return latency; };
  cluster.checkpoint_disk().failure = [&](FakeFileOperation operation, const std::string&) -> std::optional<Error> {
    if (operation == FakeFileOperation::kWriteState) latency = seconds(5);  // of what comes next, the manifest
    return std::nullopt;
  };
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return latency == seconds(5); }, seconds(10))) << cluster.state();
  cluster.world().run_for(milliseconds(50));
  cluster.crash_worker(0);
  cluster.world().run_for(seconds(3));
  cluster.ask_to_stop("job");
  ASSERT_TRUE(cluster.world().run_until([&] { return is_stopped(cluster); }, seconds(10))) << cluster.state();
  EXPECT_GT(cluster.master()->find_job("job")->describe().checkpoint_batch, 0) << cluster.state();
  latency = milliseconds(1);
  cluster.checkpoint_disk().failure = nullptr;
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST(Stop, that_a_master_began_is_ended_by_the_next_one_without_workers) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 1, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  cluster.sink().failure = Error{ErrorCode::kUnavailable, "the sink is away"};  // so that it does not end at once
  cluster.append_lines(20);
  cluster.world().run_for(seconds(1));
  cluster.ask_to_stop("job");
  cluster.world().run_for(seconds(1));
  ASSERT_FALSE(is_stopped(cluster)) << cluster.state();
  cluster.crash_master();
  cluster.crash_worker(0);
  cluster.start_master();
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.master()->started(); }, seconds(5)));
  EXPECT_TRUE(cluster.world().run_until([&] { return is_stopped(cluster); }, seconds(10))) << cluster.state();
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

TEST(ExecutorsThatCrashOneAfterTheOther, are_named_as_what_the_job_waits_for) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 1, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  const auto at_work = [&] {
    return !cluster.master()->find_job("job")->describe().executors.empty() && cluster.all_caught_up();
  };
  ASSERT_TRUE(cluster.world().run_until(at_work, seconds(10))) << cluster.state();
  cluster.crash_executor_of(0);
  cluster.world().run_for(milliseconds(100));
  EXPECT_TRUE(says(cluster, "an executor died on worker ")) << cluster.state();
  EXPECT_TRUE(says(cluster, ": signal 9; where")) << cluster.state();  // It had nothing to do.
  // The next executor comes at once.
  ASSERT_TRUE(cluster.world().run_until([&] { return at_work() && cluster.executors() > 0; }, seconds(5)))
      << cluster.state();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(cluster.world().run_until([&] { return cluster.executors() > 0; }, seconds(10))) << cluster.state();
    cluster.world().run_for(milliseconds(50));
    ASSERT_FALSE(cluster.master()->find_job("job")->describe().executors.empty()) << cluster.state();
    cluster.crash_executor_of(0);
    cluster.world().run_for(milliseconds(100));
    EXPECT_TRUE(says(cluster, " died")) << cluster.state();
  }
  cluster.append_lines(20);
  EXPECT_TRUE(cluster.finish()) << cluster.state();
  EXPECT_EQ(summary_of(cluster).problem, "");
}

TEST(ExecutorsThatCrashOneAfterTheOther, at_the_same_batch_fail_the_job_which_can_go_on) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 1, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  const auto failed = [&] { return summary_of(cluster).state == "failed"; };
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  const auto newest = [&] { return std::stoll(cluster.master()->find_job("job")->internals().substr(7)); };
  const int64_t before = newest();
  const auto has_a_batch_to_do = [&] {
    const auto executors = cluster.master()->find_job("job")->describe().executors;
    return !executors.empty() && executors.front().state_partitions > 0 && newest() > before;
  };
  cluster.append_lines(20);
  int deaths = 0;
  for (; deaths < 20; ++deaths) {
    const auto either = [&] { return failed() || has_a_batch_to_do(); };
    ASSERT_TRUE(cluster.world().run_until(either, seconds(30))) << cluster.state();
    if (failed()) break;
    cluster.crash_executor_of(0);
    ASSERT_TRUE(cluster.world().run_until([&] { return !has_a_batch_to_do(); }, seconds(10))) << cluster.state();
  }
  EXPECT_EQ(deaths, 10);
  EXPECT_TRUE(says(cluster, "10 executors died, one after the other and no batch further, the last on worker "));
  EXPECT_TRUE(says(cluster, ": signal 9, while it had to do: ")) << summary_of(cluster).problem;
  EXPECT_TRUE(says(cluster, " offsets ")) << summary_of(cluster).problem;
  EXPECT_TRUE(says(cluster, "batch " + std::to_string(before + 1) + " (")) << summary_of(cluster).problem;
}

TEST(ProbeThatWasRemoved, is_named_as_what_keeps_workers_out) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 1, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  std::erase_if(cluster.checkpoint_disk().files, [](const auto& file) { return file.first.starts_with("probe/"); });
  cluster.crash_executor(0);
  EXPECT_TRUE(cluster.world().run_until([&] { return says(cluster, "does not see the checkpoint store"); }, seconds(5)))
      << cluster.state();
  // It stays named while one executor after the other is tried.
  for (int i = 0; i < 50; ++i) {
    cluster.world().run_for(milliseconds(100));
    ASSERT_TRUE(says(cluster, "does not see the checkpoint store")) << cluster.state();
  }
}

TEST(RecordThatFailsTheJob, is_among_its_dead_letters) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.fail_on_bad_record = true, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.topic().append(LogPartition(1), std::vector<std::string>{"good", "bad \xff"});
  const auto failed = [&] { return cluster.master()->find_job("job")->phase() == JobController::Phase::kFailed; };
  ASSERT_TRUE(cluster.world().run_until(failed, seconds(30))) << cluster.state();
  EXPECT_TRUE(says(cluster, "partition 1, offset 1")) << cluster.state();
  cluster.world().run_for(seconds(1));
  const auto letters =
      cluster.master()->store().read_letters(cluster.master()->find_job("job")->id(), LogPartition(0), Offset(0), 10);
  ASSERT_TRUE(letters.has_value());
  ASSERT_EQ(letters->size(), 1u);
  EXPECT_EQ(letters->front().offset, 1);
}

// Behind the shuffle, where no record can be refused: its batch is in the log, mapped, and applied by nobody.
TEST(JobThatFailsAgain, shows_what_it_had_come_to_before_it_was_resumed) {
  FLAGS_minloglevel = 3;
  struct Broken : Plant {
    class Table : public PassingTable {
     public:
      Table(std::unique_ptr<StateTable> real, const bool& broken) : PassingTable(std::move(real)), broken_(broken) {}
      Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
        const bool empty = std::ranges::all_of(sections, &std::string_view::empty);
        if (broken_ && !empty) return fail(ErrorCode::kInvalid, "the job's code is broken");
        return PassingTable::apply(context, sections);
      }

     private:
      const bool& broken_;  // of the plant
    };
    std::shared_ptr<const Job> job(std::shared_ptr<const Job> real) override {
      return std::make_shared<PassingJob>(real, [this](std::unique_ptr<StateTable> table) {
        return std::make_unique<Table>(std::move(table), broken);
      });
    }
    bool broken = false;
  };
  const auto plant = std::make_shared<Broken>();
  SimCluster cluster(1, {.faults = SimFaults::none(), .plant = plant});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  plant->broken = true;
  cluster.append_lines(20);
  const auto is_failed = [&] { return cluster.master()->find_job("job")->phase() == JobController::Phase::kFailed; };
  ASSERT_TRUE(cluster.world().run_until(is_failed, seconds(30))) << cluster.state();
  cluster.world().run_for(seconds(1));
  const api::JobSummary before = summary_of(cluster);
  EXPECT_GT(before.applied.batch, 0);
  EXPECT_GT(before.published, 0);
  EXPECT_EQ(before.records, 20);
  for (int times = 0; times < 2; ++times) {
    cluster.ask_to_resume("job");
    ASSERT_TRUE(cluster.world().run_until([&] { return !is_failed(); }, seconds(10))) << cluster.state();
    ASSERT_TRUE(cluster.world().run_until(is_failed, seconds(30))) << cluster.state();
    const api::JobSummary after = summary_of(cluster);
    EXPECT_EQ(after.applied, before.applied);
    EXPECT_EQ(after.published, before.published);
    EXPECT_EQ(after.records, before.records);
  }
  plant->broken = false;
  cluster.ask_to_resume("job");
  const auto counted = [&] { return summary_of(cluster).records == 40 && cluster.all_caught_up(); };
  EXPECT_TRUE(cluster.world().run_until(counted, seconds(10))) << cluster.state();
}

// One executor is cut for and maps, and nothing can be applied without the other one.
TEST(LagOfAJob, is_what_is_not_applied_wherever_it_is_shown) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 2, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return cluster.all_caught_up(); }, seconds(10))) << cluster.state();
  const api::JobSummary before = summary_of(cluster);
  cluster.freeze_executor(0, milliseconds(1500));
  cluster.append_lines(100);
  cluster.world().run_for(milliseconds(1200));  // the end of the log is asked for each second
  std::optional<api::Lag> lag;
  cluster.master()->find_job("job")->lag([&](Result<api::Lag> found) { lag = found.value(); });
  ASSERT_TRUE(cluster.world().run_until([&] { return lag.has_value(); }, milliseconds(100)));
  int64_t behind = 0;
  for (const api::PartitionLag& partition : lag->partitions) behind += partition.end_offset - partition.applied_offset;
  EXPECT_EQ(summary_of(cluster).applied, before.applied) << "frozen";
  EXPECT_EQ(behind, 100);
  EXPECT_EQ(summary_of(cluster).lag_records, behind);
}

TEST(KilledJob, answers_whoever_waits_for_it) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 2, .faults = SimFaults::none()});
  cluster.start_master();
  cluster.submit("job", "word_count");
  JobController* job = cluster.master()->find_job("job");
  std::vector<std::string> answers;
  job->get("", {"word"}, BatchId(0),
           [&](const Result<api::Values>& values) { answers.push_back(values.error().message); });
  job->top("", 5, BatchId(0), [&](const Result<api::Values>& values) { answers.push_back(values.error().message); });
  job->stop([&](const Status& stopped) { answers.push_back(stopped.error().message); });
  EXPECT_TRUE(answers.empty());
  cluster.ask_to_kill("job", false);
  EXPECT_TRUE(cluster.world().run_until([&] { return answers.size() == 3; }, seconds(10)));
  for (const std::string& answer : answers) EXPECT_NE(answer.find("was killed"), std::string::npos) << answer;
}

TEST(StopWhereNoCheckpointCanBeWritten, says_that_only_the_checkpoint_is_missing_and_why) {
  FLAGS_minloglevel = 3;
  SimCluster cluster(1, {.workers = 2, .faults = SimFaults::none()});
  cluster.start();
  cluster.submit("job", "word_count");
  cluster.checkpoint_disk().failure = [](FakeFileOperation operation, const std::string&) -> std::optional<Error> {
    if (operation != FakeFileOperation::kWriteState) return std::nullopt;
    return Error{ErrorCode::kIo, "no space left on the disk"};
  };
  cluster.append_lines(20);
  ASSERT_TRUE(cluster.world().run_until([&] { return says(cluster, "no space left"); }, seconds(10)))
      << cluster.state();
  cluster.ask_to_stop("job");
  ASSERT_TRUE(cluster.world().run_until([&] { return summary_of(cluster).state == "stopped"; }, seconds(30)))
      << cluster.state();
  EXPECT_TRUE(summary_of(cluster).problem.starts_with("stopped without a last checkpoint: checkpoint of batch "))
      << summary_of(cluster).problem;
  EXPECT_TRUE(says(cluster, "no space left on the disk; `resume` replays from batch 1")) << summary_of(cluster).problem;
  cluster.checkpoint_disk().failure = nullptr;
  EXPECT_TRUE(cluster.finish()) << cluster.state();
}

}  // namespace
}  // namespace millrace
