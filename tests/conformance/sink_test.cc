// The suite of Sink, on the fake and on a real Redis.
#include "tests/conformance/sink_harness.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

INSTANTIATE_TEST_SUITE_P(Sinks, SinkTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Redis" : "Fake"; });

TEST_P(SinkTest, PublishedValuesAreSeenAndRemovedOnesAreGone) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 1, {{"a", "1"}, {"b", "2"}})), "done");
  EXPECT_EQ(server_->values(), (Hash{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 1, 2, {{"a", "5"}}, {"b", "never there"})), "done");
  EXPECT_EQ(server_->values(), (Hash{{"a", "5"}}));
  const std::string binary("\0\xff a\n", 5);
  EXPECT_EQ(publish(*sink_, words_job(), publication(1, 1, 0, 2, {{binary, "7"}})), "done");
  EXPECT_EQ(server_->values(), (Hash{{"a", "5"}, {binary, "7"}}));
}

TEST_P(SinkTest, ALargePublicationArrivesWhole) {
  claim_words();
  Hash values;
  std::vector<std::string> removed;
  for (int key = 0; key < 5000; ++key) values["k" + std::to_string(key)] = std::to_string(key);
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 1, values)), "done");
  EXPECT_EQ(server_->values(), values);
  for (int key = 0; key < 5000; key += 2) {
    values.erase("k" + std::to_string(key));
    removed.push_back("k" + std::to_string(key));
  }
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 1, 2, values, removed)), "done");
  EXPECT_EQ(server_->values(), values);
}

TEST_P(SinkTest, AnEmptyPublicationMovesTheFenceToo) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 5, {})), "done");
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 5, 6, {{"a", "1"}})), "done");
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 7, 8, {{"a", "2"}})), "data lost");
}

TEST_P(SinkTest, AnOlderGenerationIsFencedAndWritesNothing) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
  EXPECT_EQ(publish(*other_, words_job(), publication(0, 2, 1, 3, {{"a", "3"}})), "done");
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 1, 4, {{"a", "4"}})), "fenced");
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 4, {{"a", "4"}}))), "fenced");
  EXPECT_EQ(server_->values(), (Hash{{"a", "3"}}));
  EXPECT_EQ(publish(*sink_, words_job(), publication(1, 1, 0, 4, {{"z", "1"}})), "done") << "another partition";
}

TEST_P(SinkTest, ARepeatedPublicationChangesNothing) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 5, {{"a", "5"}})), "done");
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 5, {{"a", "55"}})), "done");
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 4, {{"a", "4"}})), "done");
  EXPECT_EQ(server_->values(), (Hash{{"a", "5"}}));
}

TEST_P(SinkTest, ANewOwnerPublishesTheSameBatchAgain) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 5, {{"a", "5"}})), "done");
  EXPECT_EQ(publish(*other_, words_job(), publication(0, 2, 4, 5, {{"a", "5"}, {"b", "1"}})), "done");
  EXPECT_EQ(server_->values(), (Hash{{"a", "5"}, {"b", "1"}}));
}

TEST_P(SinkTest, WhatBuildsOnAPublicationThatIsNotThereIsRefused) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 3, 4, {{"a", "4"}})), "data lost");
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 4, {{"a", "4"}})), "done");
  EXPECT_EQ(publish(*other_, words_job(), publication(0, 2, 5, 6, {{"a", "6"}})), "data lost");
  EXPECT_EQ(server_->values(), (Hash{{"a", "4"}}));
}

TEST_P(SinkTest, LostDataAreNoticedAndAFullPublicationMendsThem) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 1, {{"a", "1"}, {"b", "1"}})), "done");
  server_->lose_all_data();
  EXPECT_EQ(publish_until_taken(*sink_, words_job(), publication(0, 1, 1, 2, {{"a", "2"}})), "data lost");
  EXPECT_EQ(publish(*sink_, words_job(), publication(1, 1, 0, 2, {{"z", "2"}})), "data lost") << "not even claimed";
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 2, {})), "data lost");
  EXPECT_FALSE(server_->holds_anything());
  ASSERT_TRUE(claim(*other_, words_job()));
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 1, 2, {{"a", "2"}})), "data lost") << "not yet in full";
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 2, {{"a", "2"}, {"b", "1"}}))), "done");
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(1, 1, 0, 2, {{"z", "2"}}))), "done");
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 2, {{"a", 2}})), "done");
  EXPECT_EQ(server_->values(), (Hash{{"a", "2"}, {"b", "1"}, {"z", "2"}}));
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 2, 3, {{"a", "3"}})), "done");
  EXPECT_TRUE(claim(*sink_, words_job())) << "it is still the same job's";
}

TEST_P(SinkTest, AFullPublicationRemovesWhatItsPartitionDoesNotHold) {
  claim_words();
  Hash values;
  for (int key = 0; key < 3000; ++key) values["k" + std::to_string(key)] = "1";
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 1, values)), "done");
  EXPECT_EQ(publish(*sink_, words_job(), publication(1, 1, 0, 1, {{"z", "1"}})), "done");
  EXPECT_EQ(publish(*other_, words_job(), full(publication(0, 2, 0, 2, {{"k1", "2"}, {"new", "2"}}))), "done");
  EXPECT_EQ(server_->values(), (Hash{{"k1", "2"}, {"new", "2"}, {"z", "1"}}));
}

TEST_P(SinkTest, AHigherIncarnationBeginsInFullAndKeepsTheOlderOut) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(7, 1), publication(0, 5, 0, 9, {{"a", "9"}, {"b", "9"}})), "done");
  ASSERT_TRUE(claim(*other_, words_job(7, 2)));
  EXPECT_EQ(publish(*sink_, words_job(7, 1), publication(0, 5, 9, 10, {{"a", "10"}})), "fenced");
  EXPECT_EQ(end_round(*sink_, words_job(7, 1), round_end(1, 1, 10, {})), "fenced");
  EXPECT_EQ(claim(*sink_, words_job(7, 1)).error().code, ErrorCode::kFenced);
  EXPECT_EQ(publish(*other_, words_job(7, 2), publication(0, 1, 0, 3, {{"a", "3"}})), "data lost");
  EXPECT_EQ(publish(*other_, words_job(7, 2), full(publication(0, 1, 0, 3, {{"a", "3"}}))), "done");
  EXPECT_EQ(server_->values(), (Hash{{"a", "3"}}));
}

TEST_P(SinkTest, KeysOfAnotherJobAreRefusedUnlessTakenOver) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(7), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
  EXPECT_EQ(end_round(*sink_, words_job(7), round_end(1, 1, 1, {{"a", 1}})), "done");
  const Status refused = claim(*other_, words_job(8));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kExists);
  EXPECT_THAT(refused.error().message, HasSubstr("{words}:*"));
  EXPECT_THAT(refused.error().message, HasSubstr("0000000000000007"));
  EXPECT_THAT(refused.error().message, HasSubstr("--take-over"));
  EXPECT_EQ(server_->values(), (Hash{{"a", "1"}}));

  ASSERT_TRUE(claim(*other_, words_job(8), /*take_over=*/true));
  EXPECT_EQ(server_->values(), Hash());
  EXPECT_EQ(server_->rank(), Rank());
  EXPECT_EQ(server_->status(), Hash());
  EXPECT_EQ(publish(*other_, words_job(8), publication(0, 1, 0, 1, {{"b", "1"}})), "done");
  EXPECT_THAT(publish(*sink_, words_job(7), publication(0, 9, 1, 2, {{"a", "2"}})), StartsWith("exists"));
  EXPECT_THAT(publish(*sink_, words_job(7), full(publication(0, 9, 1, 2, {{"a", "2"}}))), StartsWith("exists"));
  EXPECT_THAT(end_round(*sink_, words_job(7), round_end(9, 9, 9, {})), StartsWith("exists"));
  EXPECT_EQ(server_->values(), (Hash{{"b", "1"}}));
}

TEST_P(SinkTest, ValuesThatNoJobClaimedAreRefusedToo) {
  server_->put_foreign_value();
  EXPECT_EQ(claim(*sink_, words_job()).error().code, ErrorCode::kExists);
  ASSERT_TRUE(claim(*sink_, words_job(), /*take_over=*/true));
  EXPECT_EQ(server_->values(), Hash());
}

TEST_P(SinkTest, AClaimOfTheSameJobKeepsItsValues) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
  EXPECT_TRUE(claim(*other_, words_job()));
  EXPECT_TRUE(claim(*other_, words_job(), /*take_over=*/true));
  EXPECT_EQ(server_->values(), (Hash{{"a", "1"}}));
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 1, 2, {{"a", "2"}})), "done");
  EXPECT_EQ(end_round(*sink_, words_job(), of_partitions(1, round_end(1, 1, 2, {{"a", 2}}))), "done");
  EXPECT_TRUE(claim(*other_, words_job()));
  EXPECT_EQ(server_->rank(), (Rank{{"a", 2}}));
  EXPECT_EQ(server_->status(), (Hash{{"batch", "2"}}));
  EXPECT_EQ(end_round(*sink_, words_job(), of_partitions(1, round_end(1, 1, 1, {}))), "fenced");
}

TEST_P(SinkTest, APurgeRemovesTheJobsOwnKeysOnly) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(7), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
  EXPECT_TRUE(purge(*other_, words_job(8)));
  EXPECT_EQ(server_->values(), (Hash{{"a", "1"}}));
  EXPECT_TRUE(purge(*other_, words_job(7)));
  EXPECT_FALSE(server_->holds_anything());
  EXPECT_TRUE(purge(*other_, words_job(7)));
}

TEST_P(SinkTest, WhoPublishesLateAfterAPurgeLeavesNoKeyBehind) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 1, {{"a", 1}})), "done");
  ASSERT_TRUE(purge(*other_, words_job()));
  // An executor that was frozen meanwhile goes on with whatever it was about to do.
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 1, 2, {{"a", "2"}})), "data lost");
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 2, {{"a", "2"}})), "data lost");
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 1, 2, {})), "data lost");
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 2, {{"a", "2"}}))), "data lost");
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 2, {}))), "data lost");
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 2, {{"a", 2}})), "data lost");
  EXPECT_EQ(end_round(*other_, words_job(), round_end(2, 2, 2, {})), "data lost");
  EXPECT_FALSE(server_->holds_anything());
}

TEST_P(SinkTest, APurgeInTheMiddleOfAPublicationLeavesNoKeyBehind) {
  claim_words();
  Hash values;
  for (int key = 0; key < 5000; ++key) values["k" + std::to_string(key)] = "1";
  std::string outcome;
  sink_->publish(words_job(), full(publication(0, 1, 0, 1, values)), [&](Result<PublishOutcome> answer) {
    outcome = answer ? name_of(*answer) : "error: " + answer.error().message;
  });
  ASSERT_TRUE(purge(*other_, words_job()));
  ASSERT_TRUE(server_->loop().run_until([&] { return !outcome.empty(); }));
  EXPECT_TRUE(outcome == "data lost" || outcome == "done") << outcome;
  if (outcome == "done") {
    ASSERT_TRUE(purge(*other_, words_job()));
  }
  EXPECT_FALSE(server_->holds_anything());
}

TEST_P(SinkTest, OnlyAClaimTakesTheKeysForAJobAndAnIncarnation) {
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 1, {{"a", "1"}}))), "data lost");
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 1, {{"a", 1}})), "data lost");
  EXPECT_FALSE(server_->holds_anything());
  ASSERT_TRUE(claim(*sink_, words_job(7, 1)));
  EXPECT_EQ(publish(*other_, words_job(7, 2), full(publication(0, 1, 0, 1, {{"a", "1"}}))), "data lost");
  EXPECT_EQ(end_round(*other_, words_job(7, 2), round_end(1, 1, 1, {{"a", 1}})), "data lost");
  EXPECT_EQ(publish(*sink_, words_job(7, 1), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
}

TEST_P(SinkTest, ARoundEndsOnlyWhenAllItsPartitionsAreDone) {
  claim_words();
  const RoundEnd first = of_partitions(2, round_end(1, 1, 3, {{"a", 1}}));
  EXPECT_EQ(end_round(*sink_, words_job(), first), "data lost") << "none is there";
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 3, {{"a", "1"}}))), "done");
  EXPECT_EQ(end_round(*sink_, words_job(), first), "data lost") << "the other one is not";
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(1, 1, 0, 2, {{"z", "1"}}))), "done");
  EXPECT_EQ(end_round(*sink_, words_job(), first), "data lost") << "it is at an earlier batch";
  EXPECT_EQ(server_->rank(), Rank());
  EXPECT_EQ(server_->status(), Hash());
  EXPECT_EQ(publish(*sink_, words_job(), publication(1, 1, 2, 3, {})), "done") << "nothing new in it";
  EXPECT_EQ(end_round(*sink_, words_job(), first), "done");
  EXPECT_EQ(server_->rank(), (Rank{{"a", 1}}));
  EXPECT_EQ(publish(*other_, words_job(), publication(0, 2, 3, 5, {})), "done");
  EXPECT_EQ(publish(*other_, words_job(), publication(1, 2, 3, 5, {})), "done");
  EXPECT_EQ(end_round(*sink_, words_job(), of_partitions(2, round_end(1, 1, 4, {{"a", 1}}))), "done") << "beyond it";
  EXPECT_EQ(end_round(*sink_, words_job(), of_partitions(2, round_end(1, 1, 3, {}))), "fenced");
  EXPECT_EQ(end_round(*sink_, words_job(), of_partitions(2, round_end(1, 1, 6, {}))), "data lost");
  ASSERT_TRUE(claim(*other_, words_job(7, 2)));
  EXPECT_EQ(end_round(*other_, words_job(7, 2), of_partitions(2, round_end(2, 1, 5, {}))), "data lost")
      << "done in the incarnation before";
  EXPECT_EQ(server_->rank(), (Rank{{"a", 1}}));
}

TEST_P(SinkTest, AnEmptyPublicationIsCheckedLikeAnyOther) {
  claim_words();
  EXPECT_EQ(publish(*other_, words_job(), publication(0, 2, 0, 5, {})), "done");
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 6, {})), "fenced");
  EXPECT_EQ(publish(*other_, words_job(), publication(0, 2, 6, 7, {})), "data lost");
  server_->lose_all_data();
  EXPECT_EQ(publish_until_taken(*other_, words_job(), publication(0, 2, 5, 6, {})), "data lost");
  EXPECT_FALSE(server_->holds_anything());
  ASSERT_TRUE(claim_until_taken(*sink_, words_job()));
  EXPECT_EQ(publish(*other_, words_job(), publication(0, 2, 5, 6, {})), "data lost");
}

TEST_P(SinkTest, LostValuesAreNoticedByEverybodyAndAClaimMakesRoomForAll) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 1, {{"a", "1"}}))), "done");
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(1, 1, 0, 1, {{"z", "1"}}))), "done");
  server_->lose_values("counts");
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 1, 2, {{"a", "2"}})), "data lost");
  EXPECT_EQ(publish(*sink_, words_job(), publication(1, 1, 1, 2, {})), "data lost");
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 2, {{"a", "2"}}))), "data lost");
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 2, {})), "data lost");
  ASSERT_TRUE(claim(*other_, words_job()));
  EXPECT_EQ(publish(*sink_, words_job(), publication(1, 1, 1, 3, {})), "data lost");
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 3, {{"a", "2"}}))), "done");
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(1, 1, 0, 3, {{"z", "1"}}))), "done");
  EXPECT_EQ(end_round(*sink_, words_job(), of_partitions(2, round_end(1, 1, 3, {}))), "done");
  EXPECT_EQ(server_->values(), (Hash{{"a", "2"}, {"z", "1"}}));
}

TEST_P(SinkTest, AJobWhoseFenceAloneIsLostMayClaimItsKeysAgain) {
  claim_words();
  const Hash status = {{"job_id", to_string(words_job().job)}};
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 1, {{"a", "1"}, {"b", "1"}}))), "done");
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 1, {{"a", 1}}, status)), "done");
  server_->lose_fence();
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 2, {{"a", "2"}}))), "data lost");
  EXPECT_EQ(claim(*other_, words_job(8)).error().code, ErrorCode::kExists);
  ASSERT_TRUE(claim(*other_, words_job()));
  EXPECT_EQ(publish(*sink_, words_job(), full(publication(0, 1, 0, 2, {{"a", "2"}}))), "done");
  EXPECT_EQ(server_->values(), (Hash{{"a", "2"}}));
}

TEST_P(SinkTest, TheRankAndTheStatusAreReplacedInOneStep) {
  claim_words();
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 1, {{"a", 3}, {"b", 2}}, {{"old", "x"}})), "done");
  EXPECT_EQ(server_->rank(), (Rank{{"a", 3}, {"b", 2}}));
  EXPECT_EQ(server_->status(), (Hash{{"batch", "1"}, {"old", "x"}}));
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 2, {{"c", 9}, {"a", 4}})), "done");
  EXPECT_EQ(server_->rank(), (Rank{{"a", 4}, {"c", 9}}));
  EXPECT_EQ(server_->status(), (Hash{{"batch", "2"}}));
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 2, {{"c", 9}, {"a", 4}})), "done") << "repeated";
  EXPECT_EQ(server_->rank(), (Rank{{"a", 4}, {"c", 9}}));
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 3, {})), "done");
  EXPECT_EQ(server_->rank(), Rank());
}

TEST_P(SinkTest, ALargeRankIsExactAfterEachRound) {
  claim_words();
  for (int batch = 1; batch <= 5; ++batch) {
    std::vector<std::pair<std::string, double>> rank;
    Rank expected;
    for (int key = 0; key < 6000; ++key) {
      if ((key + batch) % 3 == 0) continue;
      rank.emplace_back("k" + std::to_string(key), key * (key % 7 == batch ? 1000.0 : 1.0));
      expected[rank.back().first] = rank.back().second;
    }
    EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, batch, rank)), "done");
    EXPECT_EQ(server_->rank(), expected);
  }
}

TEST_P(SinkTest, AnotherOwnersRankInBetweenIsReplacedAsAWhole) {
  claim_words();
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 1, 1, {{"a", 1}, {"b", 1}})), "done");
  EXPECT_EQ(end_round(*other_, words_job(), round_end(1, 2, 2, {{"x", 1}, {"y", 1}})), "done");
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(1, 3, 3, {{"a", 1}, {"c", 1}})), "done");
  EXPECT_EQ(server_->rank(), (Rank{{"a", 1}, {"c", 1}}));
}

TEST_P(SinkTest, AnOlderEpochOrGenerationCannotEndARound) {
  claim_words();
  EXPECT_EQ(end_round(*sink_, words_job(), round_end(2, 5, 7, {{"a", 7}})), "done");
  EXPECT_EQ(end_round(*other_, words_job(), round_end(1, 5, 8, {{"b", 8}})), "fenced");
  EXPECT_EQ(end_round(*other_, words_job(), round_end(1, 6, 8, {{"b", 8}})), "fenced");
  EXPECT_EQ(end_round(*other_, words_job(), round_end(2, 4, 8, {{"b", 8}})), "fenced");
  EXPECT_EQ(end_round(*other_, words_job(), round_end(2, 5, 6, {{"b", 6}})), "fenced");
  EXPECT_EQ(server_->rank(), (Rank{{"a", 7}}));
  EXPECT_EQ(end_round(*other_, words_job(), round_end(3, 1, 8, {{"b", 8}})), "done");
  EXPECT_EQ(server_->rank(), (Rank{{"b", 8}}));
}

TEST_P(SinkTest, ARankOfAllKeysIsWrittenWithTheValues) {
  SinkIdentity identity = words_job();
  identity.layout.front().rank_all = true;
  ASSERT_TRUE(claim(*sink_, identity));
  EXPECT_EQ(publish(*sink_, identity, publication(0, 1, 0, 1, {{"a", "1"}, {"b", "2"}})), "done");
  EXPECT_EQ(server_->rank(), (Rank{{"a", 1}, {"b", 2}}));
  EXPECT_EQ(publish(*sink_, identity, publication(0, 1, 1, 2, {{"b", "3"}}, {"a"})), "done");
  EXPECT_EQ(server_->rank(), (Rank{{"b", 3}}));
  EXPECT_EQ(end_round(*sink_, identity, round_end(1, 1, 2, {{"ignored", 1}})), "done");
  EXPECT_EQ(server_->rank(), (Rank{{"b", 3}}));
  EXPECT_EQ(publish(*sink_, identity, full(publication(0, 2, 0, 3, {{"c", "1"}}))), "done");
  EXPECT_EQ(server_->rank(), (Rank{{"c", 1}}));
}

TEST_P(SinkTest, WhileItIsAwayCallsFailAndAfterwardsItGoesOn) {
  claim_words();
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
  server_->set_away(true);
  EXPECT_THAT(publish(*sink_, words_job(), publication(0, 1, 1, 2, {{"a", "2"}})), StartsWith("unavailable"));
  EXPECT_THAT(end_round(*sink_, words_job(), round_end(1, 1, 2, {})), StartsWith("unavailable"));
  EXPECT_EQ(claim(*sink_, words_job(9)).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(purge(*sink_, words_job()).error().code, ErrorCode::kUnavailable);
  server_->set_away(false);
  ASSERT_TRUE(claim_until_taken(*sink_, words_job())) << "it may have come back empty";
  EXPECT_EQ(publish_until_taken(*sink_, words_job(), full(publication(0, 1, 0, 2, {{"a", "2"}}))), "done");
  EXPECT_EQ(server_->values(), (Hash{{"a", "2"}}));
}

TEST_P(SinkTest, AnswersComeInTheOrderOfTheCalls) {
  claim_words();
  std::vector<int> order;
  for (int batch = 1; batch <= 100; ++batch) {
    sink_->publish(words_job(), publication(0, 1, batch - 1, batch, {{"a", std::to_string(batch)}}),
                   [&order, batch](Result<PublishOutcome> outcome) {
                     EXPECT_EQ(outcome, PublishOutcome::kDone);
                     order.push_back(batch);
                   });
  }
  ASSERT_TRUE(server_->loop().run_until([&] { return order.size() == 100; }));
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(server_->values(), (Hash{{"a", "100"}}));
}

TEST_P(SinkTest, ACrashInAPublicationLeavesItToTheNextOwner) {
  claim_words();
  Hash values;
  for (int key = 0; key < 2000; ++key) values["k" + std::to_string(key)] = "2";
  EXPECT_EQ(publish(*sink_, words_job(), publication(0, 1, 0, 1, {{"k0", "1"}})), "done");
  sink_->publish(words_job(), publication(0, 1, 1, 2, values), [](Result<PublishOutcome>) { FAIL(); });
  sink_.reset();
  EXPECT_EQ(publish(*other_, words_job(), publication(0, 2, 1, 3, values)), "done");
  EXPECT_EQ(server_->values(), values);
}

TEST_P(SinkTest, TablesOfOneJobDoNotMix) {
  const SinkIdentity identity = three_tables();
  ASSERT_TRUE(claim(*sink_, identity));
  const Publication first = with(publication(0, 1, 0, 1, {{"a", "1"}}), 1, {{"a", "2"}, {"b", "3"}});
  EXPECT_EQ(publish(*sink_, identity, first), "done");
  EXPECT_EQ(server_->values_of("counts"), (Hash{{"a", "1"}}));
  EXPECT_EQ(server_->values_of("pairs"), (Hash{{"a", "2"}, {"b", "3"}}));
  EXPECT_EQ(server_->rank_of("pairs", "best"), (Rank{{"a", 2}, {"b", 3}}));
  EXPECT_EQ(publish(*sink_, identity, with(publication(0, 1, 1, 2, {{"b", "5"}}), 1, {}, {"a"})), "done");
  EXPECT_EQ(server_->rank_of("pairs", "best"), (Rank{{"b", 3}}));
  const Publication all = full(with(with(publication(0, 2, 0, 3, {{"b", "6"}}), 1, {{"a", "7"}}), 2, {{"c", "8"}}));
  EXPECT_EQ(publish(*other_, identity, all), "done");
  EXPECT_EQ(server_->values_of("counts"), (Hash{{"b", "6"}})) << "what is left over goes, table by table";
  EXPECT_EQ(server_->values_of("pairs"), (Hash{{"a", "7"}}));
  EXPECT_EQ(server_->rank_of("pairs", "best"), (Rank{{"a", 7}}));
  EXPECT_EQ(server_->values_of("plain"), (Hash{{"c", "8"}}));
}

TEST_P(SinkTest, RanksOfSeveralTablesAreWrittenInOneStep) {
  SinkIdentity identity = three_tables();
  identity.layout[1].rank_all = false;
  ASSERT_TRUE(claim(*sink_, identity));
  for (int batch = 1; batch <= 3; ++batch) {
    EXPECT_EQ(publish(*sink_, identity, publication(0, 1, batch - 1, batch, {})), "done");
    RoundEnd end = of_partitions(1, round_end(1, 1, batch, {{"a", 1}, {"of " + std::to_string(batch), batch}}));
    end.ranks[1] = {{.key = "x", .text = "", .score = 7.0 * batch}, {.key = "y", .text = "", .score = 1}};
    EXPECT_EQ(end_round(*sink_, identity, end), "done");
    const auto now = static_cast<double>(batch);
    EXPECT_EQ(server_->rank(), (Rank{{"a", 1}, {"of " + std::to_string(batch), now}}));
    EXPECT_EQ(server_->rank_of("pairs", "best"), (Rank{{"x", 7 * now}, {"y", 1}}));
  }
}

TEST_P(SinkTest, ALargePublicationOfSeveralTablesArrivesWholeOrIsTheNextOwners) {
  ASSERT_TRUE(claim(*sink_, three_tables()));
  Hash counts;
  Hash pairs;
  for (int key = 0; key < 1000; ++key) counts["k" + std::to_string(key)] = std::to_string(key);
  for (int key = 0; key < 700; ++key) pairs["p" + std::to_string(key)] = std::to_string(key);
  EXPECT_EQ(publish(*sink_, three_tables(), with(publication(0, 2, 0, 1, counts), 1, pairs)), "done");
  EXPECT_EQ(server_->values_of("counts"), counts);
  EXPECT_EQ(publish(*other_, three_tables(), with(publication(0, 1, 1, 2, {}), 1, {{"p0", "9"}})), "fenced");
  EXPECT_EQ(server_->values_of("pairs"), pairs);
}

TEST_P(SinkTest, TheLossOfAnyTableIsNoticedAndMended) {
  for (const std::string lost : {"counts", "pairs", "plain"}) {
    const SinkIdentity identity = three_tables();
    ASSERT_TRUE(claim(*sink_, identity));
    Publication all = with(with(publication(0, 1, 0, 1, {{"a", "1"}}), 1, {{"b", "2"}}), 2, {{"c", "3"}});
    ASSERT_EQ(publish(*sink_, identity, full(all)), "done");
    server_->lose_values(lost);
    EXPECT_EQ(publish(*sink_, identity, publication(0, 1, 1, 2, {})), "data lost") << lost;
    EXPECT_EQ(end_round(*sink_, identity, of_partitions(1, round_end(1, 1, 1, {}))), "data lost") << lost;
    ASSERT_TRUE(claim(*other_, identity));
    for (const auto& table : identity.layout) EXPECT_EQ(server_->values_of(table.name), Hash()) << "all is lost then";
    all.batch = BatchId(2);
    EXPECT_EQ(publish(*sink_, identity, full(all)), "done");
    EXPECT_EQ(server_->values_of("pairs"), (Hash{{"b", "2"}}));
    EXPECT_TRUE(purge(*sink_, identity));
    EXPECT_FALSE(server_->holds_anything());
  }
}

TEST_P(SinkTest, AJobWithOtherTablesKeepsThoseThatItStillHas) {
  ASSERT_TRUE(claim(*sink_, three_tables()));
  const Publication all = with(with(publication(0, 1, 0, 1, {{"a", "1"}}), 1, {{"b", "2"}}), 2, {{"c", "3"}});
  ASSERT_EQ(publish(*sink_, three_tables(), all), "done");
  SinkIdentity next = three_tables(7, 2);
  next.layout = {next.layout[2], {.name = "new", .rank = {}}};
  ASSERT_TRUE(claim(*other_, next));
  EXPECT_EQ(server_->values_of("plain"), (Hash{{"c", "3"}})) << "it is the first one now";
  EXPECT_EQ(server_->values_of("counts"), Hash());
  EXPECT_EQ(server_->values_of("pairs"), Hash());
  EXPECT_EQ(publish(*other_, next, full(with(publication(0, 2, 0, 2, {{"c", "4"}}), 1, {{"n", "1"}}))), "done");
  EXPECT_EQ(server_->values_of("plain"), (Hash{{"c", "4"}}));
  EXPECT_EQ(server_->values_of("new"), (Hash{{"n", "1"}}));
  EXPECT_TRUE(purge(*other_, next));
  EXPECT_FALSE(server_->holds_anything());
}

// In Redis these are keys of other types.
TEST_P(SinkTest, TablesAndRanksMaySwapTheirNames) {
  ASSERT_TRUE(claim(*sink_, three_tables()));
  ASSERT_EQ(publish(*sink_, three_tables(), with(publication(0, 1, 0, 1, {{"a", "1"}}), 1, {{"b", "2"}})), "done");
  ASSERT_EQ(end_round(*sink_, three_tables(), of_partitions(1, round_end(1, 1, 1, {{"a", 1}}))), "done");
  SinkIdentity next = words_job(7, 2);
  next.layout = {{.name = "top", .rank = "counts", .rank_size = 10},
                 {.name = "best", .rank = "pairs", .rank_all = true, .rank_size = 10}};
  ASSERT_TRUE(claim(*sink_, next));
  EXPECT_EQ(publish(*sink_, next, full(with(publication(0, 2, 0, 2, {{"a", "3"}}), 1, {{"b", "4"}}))), "done");
  EXPECT_EQ(end_round(*sink_, next, of_partitions(1, round_end(2, 2, 2, {{"a", 3}}))), "done");
  EXPECT_EQ(server_->values_of("top"), (Hash{{"a", "3"}}));
  EXPECT_EQ(server_->rank_of("top", "counts"), (Rank{{"a", 3}}));
  EXPECT_EQ(server_->values_of("best"), (Hash{{"b", "4"}}));
  EXPECT_EQ(server_->rank_of("best", "pairs"), (Rank{{"b", 4}}));
}

}  // namespace
}  // namespace millrace
