#include "adapters/kafka_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using enum FetchStep;
using Verdict = LeaderVerdict;

TEST(NextStep, follows_from_the_error_and_from_what_was_asked) {
  struct Row {
    int16_t error;
    FetchStep step;
    FetchFacts facts = {true, true, 1};
  };
  const Row rows[] = {
      {0, kUse},
      {0, kFallBack, {.preferred_replica = 2}},
      {1, kAgainWithoutEpoch},
      {1, kAgainWithoutEpoch, {.sent_last_epoch = true}},
      {1, kAskWhoLeads, {}},
      {1, kGone, {.sent_leader_epoch = true}},
      {2, kPause, {.same_errors = 2}},
      {2, kCorrupt, {.same_errors = 3}},
      {3, kAskWhoLeads},
      {5, kAskWhoLeads},
      {6, kAskWhoLeads},
      {7, kPause},
      {8, kAskWhoLeads},
      {9, kAskWhoLeads},
      {29, kRefused},
      {31, kRefused},
      {35, kFallBack},
      {42, kFallBack},
      {43, kFallBack},
      {56, kAskWhoLeads},
      {70, kReconnect},
      {71, kReconnect},
      {74, kAskWhoLeads},
      {75, kAskWhoLeads},
      {76, kFallBack},
      {78, kPause},
      {100, kAskWhoLeads},
      {103, kAskWhoLeads},
      {106, kReconnect},
      {-1, kPause},
      {999, kPause},
  };
  for (const Row& row : rows) EXPECT_EQ(next_step(row.error, row.facts), row.step) << row.error;
}

KafkaTopicId id_of(char first) {
  KafkaTopicId id;
  id.bytes[0] = first;
  return id;
}

// Broker 4 leads partition 2 of topic 'a' in epoch 7.
KafkaMetadata metadata() {
  return {.brokers = {{3, "three", 1}, {4, "four", 1}},
          .topic = id_of('a'),
          .partitions = {{LogPartition(0), 0, 3, 9}, {LogPartition(2), 0, 4, 7}}};
}

Verdict verdict(const KafkaMetadata& answer, Duration same_for = {}, std::optional<KafkaTopicId> expected = id_of('a'),
                int32_t known_epoch = 7) {
  return judge_leader(answer, {LogPartition(2), expected, known_epoch, same_for, seconds(30)});
}

TEST(JudgeLeader, uses_the_leader_of_the_topic_that_is_read) {
  EXPECT_EQ(verdict(metadata()), Verdict::kUse);
  EXPECT_EQ(verdict(metadata(), seconds(60)), Verdict::kUse) << "however long it has taken";
  EXPECT_EQ(verdict(metadata(), {}, std::nullopt, -1), Verdict::kUse) << "the first answer";
  EXPECT_EQ(verdict(metadata(), {}, id_of('a'), 6), Verdict::kUse) << "a new leader";
}

TEST(JudgeLeader, never_goes_back_to_an_older_leader) {
  EXPECT_EQ(verdict(metadata(), {}, id_of('a'), 8), Verdict::kAskAnother);
  EXPECT_EQ(verdict(metadata(), seconds(2), id_of('a'), 8), Verdict::kNobody) << "which is told";
}

TEST(JudgeLeader, waits_for_a_leader) {
  KafkaMetadata none = metadata();
  none.partitions[1].error = 5;
  none.partitions[1].leader = -1;
  EXPECT_EQ(verdict(none), Verdict::kNobody);
  KafkaMetadata away = metadata();
  away.brokers.pop_back();
  EXPECT_EQ(verdict(away), Verdict::kNobody) << "no address of it";
  KafkaMetadata not_ready = metadata();
  not_ready.error = 5;
  EXPECT_EQ(verdict(not_ready), Verdict::kNobody);
}

TEST(JudgeLeader, takes_over_no_new_topic_but_lets_brokers_lag) {
  for (const auto& [same_for, expected] :
       {std::pair<Duration, Verdict>{milliseconds(1999), Verdict::kAskAnother}, {seconds(2), Verdict::kMadeAnew}}) {
    EXPECT_EQ(verdict(metadata(), same_for, id_of('b')), expected);
  }
  KafkaMetadata without_id = metadata();
  without_id.topic = {};
  EXPECT_EQ(verdict(without_id), Verdict::kFallBack);
}

TEST(JudgeLeader, waits_for_a_topic_that_is_away_and_gives_up) {
  KafkaMetadata unknown{.error = 3};
  KafkaMetadata smaller = metadata();
  smaller.partitions.pop_back();
  for (const KafkaMetadata& answer : {unknown, smaller}) {
    EXPECT_EQ(verdict(answer), Verdict::kAskAnother);
    EXPECT_EQ(verdict(answer, seconds(2)), Verdict::kNobody);
    EXPECT_EQ(verdict(answer, seconds(30)), Verdict::kGone);
  }
}

TEST(JudgeLeader, ends_where_it_is_refused) {
  for (const int16_t error : {17, 29}) EXPECT_EQ(verdict({.error = error}), Verdict::kRefused);
}

}  // namespace
}  // namespace millrace
