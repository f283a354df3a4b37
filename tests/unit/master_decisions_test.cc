// The master's decisions as plain functions: cutting, spreading, what to replay, what a ledger believes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "master/assignment.h"
#include "master/batch_clock.h"
#include "master/checkpoint_coordinator.h"
#include "master/control_service.h"
#include "master/cutter.h"
#include "master/index_cursor.h"
#include "master/ledger.h"
#include "master/peer_cuts.h"
#include "master/recovery.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const LogPartition kLog0(0);
const LogPartition kLog1(1);
const ProcessId kAnn(11);
const ProcessId kBob(12);
const ProcessId kCid(13);

// --- Cutter ----------------------------------------------------------------------------------------------------------

TEST(Cutter, ranges_of_a_partition_tile_its_offsets) {
  Cutter cutter;
  cutter.add_partition(kLog0, Offset(100));
  cutter.announce(kLog0, Offset(100), Offset(110), 10);
  const auto first = cutter.cut(1000);
  cutter.announce(kLog0, Offset(100), Offset(125), 20);
  const auto second = cutter.cut(1000);
  ASSERT_EQ(first.size(), 1u);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(first[0].range, (OffsetRange{Offset(100), Offset(110)}));
  EXPECT_EQ(second[0].range, (OffsetRange{Offset(110), Offset(125)}));
  EXPECT_EQ(second[0].records, 10) << "15 offsets hold 10 records: transactions leave gaps";
}

TEST(Cutter, a_cut_stops_at_the_cap_but_takes_at_least_one_boundary) {
  Cutter cutter;
  cutter.add_partition(kLog0, Offset(0));
  for (int64_t i = 1; i <= 10; ++i) cutter.announce(kLog0, Offset(0), Offset(i * 100), i * 100);
  EXPECT_EQ(cutter.cut(250)[0].range.to, Offset(200));
  EXPECT_EQ(cutter.cut(50)[0].range.to, Offset(300));
  EXPECT_EQ(cutter.cut(100'000)[0].range.to, Offset(1000));
  EXPECT_FALSE(cutter.has_records());
}

TEST(Cutter, tells_what_was_read_and_is_in_no_batch) {
  Cutter cutter;
  cutter.add_partition(kLog0, Offset(0));
  EXPECT_EQ(cutter.waiting_bytes(kLog0), 0);
  cutter.announce(kLog0, Offset(0), Offset(10), 10, 1000);
  cutter.announce(kLog0, Offset(0), Offset(30), 30, 3000);
  EXPECT_EQ(cutter.waiting_bytes(kLog0), 3000);
  ASSERT_EQ(cutter.cut(10).size(), 1u);
  EXPECT_EQ(cutter.waiting_bytes(kLog0), 2000);
  cutter.restart_reader(kLog0);
  EXPECT_EQ(cutter.waiting_bytes(kLog0), 0);
}

TEST(Cutter, announcements_of_an_earlier_reader_and_repeats_are_ignored) {
  Cutter cutter;
  cutter.add_partition(kLog0, Offset(0));
  cutter.announce(kLog0, Offset(0), Offset(10), 10);
  cutter.cut(1000);
  cutter.restart_reader(kLog0);
  cutter.announce(kLog0, Offset(0), Offset(30), 30);
  EXPECT_FALSE(cutter.has_records());
  cutter.announce(kLog0, Offset(10), Offset(20), 10);
  cutter.announce(kLog0, Offset(10), Offset(20), 10);
  const auto ranges = cutter.cut(1000);
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].records, 10);
}

// --- BatchClock ------------------------------------------------------------------------------------------------------

constexpr Duration kSecond = std::chrono::seconds(1);
constexpr MonotonicTime kStart(std::chrono::hours(5));
constexpr bool kTick = true;
constexpr bool kBetween = false;

Duration ms(int64_t milliseconds) {
  return std::chrono::milliseconds(milliseconds);
}

TEST(BatchClock, ticks_come_at_multiples_of_the_interval) {
  BatchClock clock(kSecond, {}, {10'300}, kStart);
  EXPECT_EQ(clock.until_tick(kStart), ms(700));
  EXPECT_EQ(clock.take(kTick, kStart + ms(700)), 11'000);
  EXPECT_EQ(clock.until_tick(kStart + ms(700)), kSecond);
  EXPECT_EQ(clock.take(kTick, kStart + ms(1700)), 12'000);
  EXPECT_EQ(clock.newest_tick_ms(), 12'000);
}

TEST(BatchClock, a_late_tick_has_the_time_of_then_and_the_next_one_comes_in_its_time) {
  BatchClock clock(kSecond, {}, {10'000}, kStart);
  EXPECT_EQ(clock.take(kTick, kStart + ms(1000)), 11'000);
  EXPECT_EQ(clock.take(kTick, kStart + ms(4900)), 14'000);
  EXPECT_EQ(clock.until_tick(kStart + ms(4900)), ms(100));
  EXPECT_EQ(clock.take(kTick, kStart + ms(5000)), 15'000);
}

TEST(BatchClock, a_tick_that_is_a_little_early_is_the_one_it_was_meant_to_be) {
  BatchClock clock(kSecond, {}, {10'000}, kStart);
  EXPECT_EQ(clock.take(kTick, kStart + ms(1000)), 11'000);
  EXPECT_EQ(clock.take(kTick, kStart + ms(1999)), 12'000);
  EXPECT_EQ(clock.until_tick(kStart + ms(1999)), ms(1001));
}

TEST(BatchClock, a_batch_between_two_ticks_has_the_time_of_the_one_to_come) {
  BatchClock clock(kSecond, {}, {10'000}, kStart);
  EXPECT_EQ(clock.take(kBetween, kStart + ms(200)), 11'000);
  EXPECT_EQ(clock.take(kBetween, kStart + ms(999)), 11'000);
  EXPECT_EQ(clock.newest_tick_ms(), 0);
  EXPECT_EQ(clock.take(kTick, kStart + ms(1000)), 11'000);
  EXPECT_EQ(clock.take(kBetween, kStart + ms(1000)), 12'000);
  // Ticks were passed over; the one to come is then.
  EXPECT_EQ(clock.take(kBetween, kStart + ms(5500)), 16'000);
  EXPECT_EQ(clock.take(kTick, kStart + ms(5999)), 16'000) << "a timer that goes off early";
}

TEST(BatchClock, a_wall_clock_that_was_set_back_while_no_master_ran_does_not_take_time_back) {
  BatchClock clock(kSecond, {.time_ms = 3'600'000, .tick_ms = 3'599'000}, {10'300}, kStart);
  EXPECT_EQ(clock.take(kBetween, kStart), 3'600'000);
  EXPECT_EQ(clock.take(kTick, kStart + ms(1000)), 3'600'000);
  EXPECT_EQ(clock.take(kTick, kStart + ms(2000)), 3'601'000);
}

TEST(BatchClock, a_batch_that_was_promised_a_tick_before_a_restart_gets_none_before_it) {
  BatchClock clock(kSecond, {.time_ms = 12'000, .tick_ms = 10'000}, {11'100}, kStart);
  EXPECT_EQ(clock.take(kTick, kStart + ms(10)), 12'000);
  EXPECT_EQ(clock.take(kTick, kStart + ms(1900)), 13'000);
}

// --- spread ----------------------------------------------------------------------------------------------------------

Assignment nobody_owns(int logs, int states) {
  Assignment assignment;
  for (int i = 0; i < logs; ++i) assignment.logs[LogPartition(i)] = kNoProcess;
  assignment.states.resize(static_cast<size_t>(states));
  return assignment;
}

int64_t states_of(const Assignment& assignment, ProcessId process) {
  int64_t count = 0;
  for (const StateOwnership& state : assignment.states) count += state.process == process ? 1 : 0;
  return count;
}

TEST(Spread, shares_go_by_lanes) {
  const Assignment next = spread(nobody_owns(4, 64), {{kAnn, 1}, {kBob, 3}}, true, {});
  EXPECT_EQ(states_of(next, kAnn), 16);
  EXPECT_EQ(states_of(next, kBob), 48);
  EXPECT_EQ(next.number, Generation(1));
}

TEST(Spread, survivors_keep_what_they_have_and_share_what_the_dead_had) {
  const Assignment before = spread(nobody_owns(4, 6), {{kAnn, 1}, {kBob, 1}, {kCid, 1}}, true, {});
  const Assignment after = spread(before, {{kAnn, 1}, {kCid, 1}}, false, {});
  for (size_t i = 0; i < before.states.size(); ++i) {
    if (before.states[i].process == kBob) {
      EXPECT_EQ(after.states[i].generation, after.number);
    } else {
      EXPECT_EQ(after.states[i].process, before.states[i].process);
      EXPECT_EQ(after.states[i].generation, before.states[i].generation) << "who keeps it keeps its state";
    }
  }
  EXPECT_EQ(states_of(after, kAnn), 3);
  EXPECT_EQ(states_of(after, kCid), 3);
}

TEST(Spread, without_candidates_everything_belongs_to_nobody_and_the_number_rises) {
  const Assignment before = spread(nobody_owns(2, 4), {{kAnn, 1}}, true, {});
  const Assignment after = spread(before, {}, true, {});
  EXPECT_EQ(states_of(after, kNoProcess), 4);
  EXPECT_EQ(after.number, before.number.next());
}

TEST(Spread, a_partition_to_reload_gets_a_new_generation_with_its_old_owner) {
  const Assignment before = spread(nobody_owns(1, 2), {{kAnn, 1}}, true, {});
  const Assignment after = spread(before, {{kAnn, 1}}, false, {StatePartition(1)});
  EXPECT_EQ(after.states[0].generation, before.number);
  EXPECT_EQ(after.states[1].generation, after.number);
  EXPECT_EQ(after.states[1].process, kAnn);
}

TEST(Spread, renewed_states_keep_their_owners_and_get_the_generation_of_the_assignment) {
  const Assignment before = spread(nobody_owns(1, 4), {{kAnn, 1}, {kBob, 1}}, true, {});
  Assignment after = spread(before, {{kAnn, 1}, {kBob, 1}}, false, {StatePartition(1)});
  EXPECT_NE(after.states, before.states) << "a new generation is a change too";
  renew_states(after);
  for (size_t i = 0; i < after.states.size(); ++i) {
    EXPECT_EQ(after.states[i], (StateOwnership{before.states[i].process, after.number}));
  }
}

TEST(Spread, a_joiner_makes_it_unbalanced_and_balancing_gives_it_its_share) {
  const Assignment before = spread(nobody_owns(4, 64), {{kAnn, 1}}, true, {});
  const std::vector<Candidate> both = {{kAnn, 1}, {kBob, 1}};
  EXPECT_FALSE(is_unbalanced(before, {{kAnn, 1}}));
  EXPECT_TRUE(is_unbalanced(before, both));
  const Assignment after = spread(before, both, true, {});
  EXPECT_EQ(states_of(after, kBob), 32);
  EXPECT_FALSE(is_unbalanced(after, both));
}

TEST(Spread, balancing_among_any_number_of_joiners_is_balanced_afterwards) {
  for (const int32_t lanes : {1, 2, 3}) {
    std::vector<Candidate> candidates = {{kAnn, lanes}};
    Assignment current = spread(nobody_owns(4, 64), candidates, true, {});
    for (uint64_t joiner = 100; joiner < 180; ++joiner) {
      candidates.push_back({ProcessId(joiner), 1 + static_cast<int32_t>(joiner % 3)});
      current = spread(current, candidates, true, {});
      EXPECT_FALSE(is_unbalanced(current, candidates)) << candidates.size() << " candidates";
      for (const StateOwnership& state : spread(current, candidates, true, {}).states) {
        EXPECT_LE(state.generation, current.number) << "nothing moves twice";
      }
    }
  }
}

// --- plan_recovery ---------------------------------------------------------------------------------------------------

struct RecoveryCase {
  const char* name;
  ProcessId mapper;
  bool result_known;
  BatchId applied;
  bool restoring;
  bool wants_task;
  bool wants_section;
};

class RecoveryTable : public ::testing::TestWithParam<RecoveryCase> {};

TEST_P(RecoveryTable, asks_for_what_may_be_missing) {
  const RecoveryCase& row = GetParam();
  Assignment assignment;
  assignment.logs[kLog0] = kBob;
  RecoveryFacts facts;
  facts.assignment = &assignment;
  facts.alive = {kAnn, kBob};
  facts.batches = {{BatchId(7), {{kLog0, {Offset(0), Offset(10)}, 10, row.mapper, row.result_known}}}};
  facts.states = {{StatePartition(3), row.applied, row.restoring}};
  const auto tasks = plan_recovery(facts);
  ASSERT_EQ(tasks.size(), row.wants_task ? 1u : 0u);
  if (!row.wants_task) return;
  EXPECT_EQ(tasks[0].mapper, row.mapper == kAnn ? kAnn : kBob) << "a living mapper has kept its blocks";
  if (row.wants_section) {
    EXPECT_THAT(tasks[0].partitions, ElementsAre(StatePartition(3)));
  } else {
    EXPECT_THAT(tasks[0].partitions, IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rows, RecoveryTable,
    ::testing::Values(
        RecoveryCase{"survivor_that_will_get_its_block", kAnn, false, BatchId(6), false, false, false},
        RecoveryCase{"survivor_whose_mapper_died", kCid, false, BatchId(6), false, true, true},
        RecoveryCase{"survivor_whose_mapper_died_after_telling_its_result", kCid, true, BatchId(6), false, true, true},
        RecoveryCase{"survivor_that_has_applied_it", kAnn, true, BatchId(7), false, false, false},
        RecoveryCase{"only_the_result_is_missing", kCid, false, BatchId(7), false, true, false},
        RecoveryCase{"moved_partition_with_a_living_mapper", kAnn, true, BatchId(5), true, true, true},
        RecoveryCase{"moved_partition_with_an_unknown_mapper", kNoProcess, true, BatchId(5), true, true, true},
        RecoveryCase{"moved_partition_restored_beyond_it", kAnn, true, BatchId(7), true, false, false}),
    [](const auto& row) { return row.param.name; });

// --- cuts between executors ------------------------------------------------------------------------------------------

MonotonicTime at_second(int64_t second) {
  return MonotonicTime(std::chrono::seconds(second));
}

TEST(PeerCuts, the_younger_of_two_is_given_up_whoever_says_it) {
  const std::map<ProcessId, MonotonicTime> since = {{kAnn, at_second(9)}, {kBob, at_second(5)}};
  EXPECT_THAT(choose_whom_to_give_up({{kAnn, kBob}}, since), ElementsAre(kAnn));
  EXPECT_THAT(choose_whom_to_give_up({{kBob, kAnn}}, since), ElementsAre(kAnn));
  EXPECT_THAT(choose_whom_to_give_up({{kAnn, kBob}, {kBob, kAnn}}, since), ElementsAre(kAnn));
}

TEST(PeerCuts, one_that_several_cannot_reach_goes_even_if_it_is_the_oldest) {
  const std::map<ProcessId, MonotonicTime> since = {{kAnn, at_second(1)}, {kBob, at_second(5)}, {kCid, at_second(9)}};
  EXPECT_THAT(choose_whom_to_give_up({{kBob, kAnn}, {kCid, kAnn}}, since), ElementsAre(kAnn));
}

TEST(PeerCuts, nobody_stays_cut_from_another_and_one_always_stays) {
  const std::map<ProcessId, MonotonicTime> since = {{kAnn, at_second(1)}, {kBob, at_second(1)}, {kCid, at_second(1)}};
  EXPECT_THAT(choose_whom_to_give_up({{kAnn, kBob}, {kBob, kCid}, {kCid, kAnn}}, since), ElementsAre(kCid, kBob));
  EXPECT_THAT(choose_whom_to_give_up({}, since), IsEmpty());
}

// --- files of checkpoints --------------------------------------------------------------------------------------------

TEST(AbandonedFiles, are_of_older_epochs_or_batches_and_no_kept_checkpoint_names_them) {
  KeptCheckpoint kept;
  kept.reference.name = "job-1/1/2-7.manifest";
  kept.manifest.batch = 7;
  wire::CheckpointFile file;
  file.name = "job-1/1/1-3-aa-base.sst";
  kept.manifest.files.push_back(file);
  const std::vector<std::string> names = {"job-1/1/1-3-aa-base.sst", "job-1/1/1-3-bb-base.sst",
                                          "job-1/1/1-9-aa.sst",      "job-1/1/2-6-aa.sst",
                                          "job-1/1/2-6.manifest",    "job-1/1/2-7.manifest",
                                          "job-1/1/2-8-aa.sst",      "job-1/1/3-1-aa.sst",
                                          "job-1/1/notes",           "job-1/1/1",
                                          "job-1/1/-1-2-aa.sst.x",   "job-1/1/1-x"};
  EXPECT_THAT(
      abandoned_files(names, {kept}, Incarnation(1), Epoch(2)),
      ElementsAre("job-1/1/1-3-bb-base.sst", "job-1/1/1-9-aa.sst", "job-1/1/2-6-aa.sst", "job-1/1/2-6.manifest"));
}

TEST(AbandonedFiles, of_former_incarnations_are_all_that_no_kept_checkpoint_names) {
  KeptCheckpoint kept;
  kept.reference.name = "job-1/2/5-7.manifest";
  kept.manifest.batch = 7;
  wire::CheckpointFile file;
  file.name = "job-1/1/5-3-aa.sst";
  kept.manifest.files.push_back(file);
  const std::vector<std::string> names = {
      "job-1/job.so",         "job-1/1/5-3-aa.sst", "job-1/1/5-9-aa.sst", "job-1/1/9-9-aa.sst", "job-1/1/5-9.manifest",
      "job-1/2/5-7.manifest", "job-1/2/5-8-aa.sst", "job-1/3/5-1-aa.sst", "5-1-aa.sst",         "job-1/x/5-1-aa.sst"};
  EXPECT_THAT(abandoned_files(names, {kept}, Incarnation(2), Epoch(5)),
              ElementsAre("job-1/1/5-9-aa.sst", "job-1/1/9-9-aa.sst", "job-1/1/5-9.manifest"));
}

// --- what a job may be -----------------------------------------------------------------------------------------------

api::SubmitRequest request_of(const std::function<void(api::SubmitRequest&)>& spoil) {
  api::SubmitRequest request;
  request.name = "a";
  request.type = "word_count";
  request.source = "log://lines";
  request.sink = "none:";
  spoil(request);
  return request;
}

TEST(SubmitRequest, is_refused_with_a_reason_where_it_is_wrong) {
  EXPECT_TRUE(make_spec(request_of([](auto&) {})));
  const std::vector<std::pair<std::string, std::function<void(api::SubmitRequest&)>>> wrong = {
      {"a job's name", [](auto& request) { request.name = "a b"; }},
      {"a job's type", [](auto& request) { request.type = ""; }},
      {"a job's type", [](auto& request) { request.type = std::string(1 << 20, 'x'); }},
      {"--source", [](auto& request) { request.source = "lines"; }},
      {"--source", [](auto& request) { request.source = "log://" + std::string(1 << 20, 'x'); }},
      {"--sink", [](auto& request) { request.sink = ""; }},
      {"--batch-interval", [](auto& request) { request.batch_interval_ms = 0; }},
      {"--checkpoint-interval", [](auto& request) { request.checkpoint_interval_ms = -1; }},
      {"--start", [](auto& request) { request.start = "middle"; }},
      {"no name", [](auto& request) { request.settings[""] = "x"; }},
      {"no name", [](auto& request) { request.source_config[""] = "x"; }},
      {"no name", [](auto& request) { request.sink_config[""] = "x"; }},
      {"all settings", [](auto& request) { request.settings["field"] = std::string(16 << 20, 'x'); }},
      {"all settings", [](auto& request) { request.source_config[std::string(70'000, 'x')] = "x"; }},
      {"--max-record-bytes", [](auto& request) { request.max_record_bytes = 0; }},
      {"--state-partitions", [](auto& request) { request.state_partitions = 1 << 20; }},
  };
  for (const auto& [words, spoil] : wrong) {
    const auto spec = make_spec(request_of(spoil));
    ASSERT_FALSE(spec) << words;
    EXPECT_EQ(spec.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(spec.error().message, ::testing::HasSubstr(words));
    EXPECT_LT(spec.error().message.size(), 300u);
  }
}

// --- Ledger ----------------------------------------------------------------------------------------------------------

wire::BatchRecord record_of(int64_t batch, int64_t from, int64_t to) {
  wire::BatchRecord record;
  record.batch = batch;
  wire::PlannedRange range;
  range.from_offset = from;
  range.to_offset = to;
  range.records = to - from;
  record.ranges.push_back(range);
  return record;
}

wire::MapResult result_of(int64_t from, int64_t to, int64_t fingerprint) {
  wire::MapResult result;
  result.from_offset = from;
  result.to_offset = to;
  result.records = to - from;
  result.emitted = 2 * (to - from);
  result.fingerprint = fingerprint;
  return result;
}

TEST(Ledger, totals_advance_without_gap_over_durable_batches_with_all_results) {
  Ledger ledger{wire::BatchTotals()};
  ledger.add(record_of(1, 0, 10), true);
  ledger.add(record_of(2, 10, 15), true);
  ASSERT_TRUE(ledger.note_result(BatchId(2), result_of(10, 15, 1)));
  EXPECT_THAT(ledger.advance_totals(), IsEmpty());
  ASSERT_TRUE(ledger.note_result(BatchId(1), result_of(0, 10, 1)));
  EXPECT_EQ(ledger.advance_totals().size(), 2u);
  EXPECT_EQ(ledger.totals().records, 15);
  EXPECT_EQ(ledger.totals().emitted, 30);
  EXPECT_EQ(ledger.totals_at(BatchId(1))->records, 10);
}

TEST(Ledger, a_batch_that_is_not_durable_holds_the_totals_back) {
  Ledger ledger{wire::BatchTotals()};
  ledger.add(record_of(1, 0, 10), false);
  ASSERT_TRUE(ledger.note_result(BatchId(1), result_of(0, 10, 1)));
  EXPECT_THAT(ledger.advance_totals(), IsEmpty());
  EXPECT_EQ(ledger.newest_durable(), BatchId(0));
}

TEST(Ledger, a_replay_that_differs_is_a_named_stop) {
  Ledger ledger{wire::BatchTotals()};
  ledger.add(record_of(1, 0, 10), true);
  EXPECT_TRUE(ledger.note_result(BatchId(1), result_of(0, 10, 77)).value());
  EXPECT_FALSE(ledger.note_result(BatchId(1), result_of(0, 10, 77)).value());
  const auto differs = ledger.note_result(BatchId(1), result_of(0, 10, 78));
  ASSERT_FALSE(differs);
  EXPECT_THAT(differs.error().message, ::testing::HasSubstr("batch 1, log partition 0, offsets 0 to 10"));
}

TEST(Ledger, fewer_records_than_planned_is_data_lost) {
  Ledger ledger{wire::BatchTotals()};
  ledger.add(record_of(1, 0, 10), true);
  wire::MapResult short_result = result_of(0, 10, 1);
  short_result.records = 9;
  const auto lost = ledger.note_result(BatchId(1), short_result);
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::kDataLost);
}

TEST(Ledger, results_of_other_ranges_and_of_forgotten_batches_are_ignored) {
  Ledger ledger{wire::BatchTotals()};
  ledger.add(record_of(1, 0, 10), true);
  ASSERT_TRUE(ledger.note_result(BatchId(1), result_of(0, 12, 1)));
  EXPECT_THAT(ledger.advance_totals(), IsEmpty());
  ASSERT_TRUE(ledger.note_result(BatchId(1), result_of(0, 10, 1)));
  ledger.advance_totals();
  ledger.forget_up_to(BatchId(1));
  EXPECT_EQ(ledger.find(BatchId(1)), nullptr);
  EXPECT_EQ(ledger.newest(), BatchId(1));
  EXPECT_TRUE(ledger.note_result(BatchId(1), result_of(0, 10, 99)));
}

TEST(IndexCursor, is_text_for_any_bytes_and_gives_them_back) {
  wire::IndexMember last;
  last.count = -3;
  last.member = std::string("a/b:%\0\xff~", 8);
  EXPECT_EQ(cursor_text(last), "-3:a%2Fb%3A%25%00%FF~");
  last.member.clear();
  for (int byte = 0; byte < 256; ++byte) last.member += static_cast<char>(byte);
  const auto parsed = parse_cursor(cursor_text(last));
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_EQ(*parsed, last);
  for (const char* wrong : {"", "3", ":a", "x:a", "3:%", "3:%4", "3:%4g", "99999999999999999999:a"}) {
    EXPECT_FALSE(parse_cursor(wrong).has_value()) << wrong;
  }
}

}  // namespace
}  // namespace millrace
