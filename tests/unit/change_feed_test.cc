#include "master/change_feed.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/sim/world.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ChangeFeedTest : public testing::Test {
 protected:
  // Without a position where `position` is negative.
  std::shared_ptr<std::vector<Result<ChangeFeed::Answer>>> follow(int64_t position, int64_t published = 0,
                                                                  bool open = false) {
    auto answers = std::make_shared<std::vector<Result<ChangeFeed::Answer>>>();
    const auto at = position < 0 ? std::nullopt : std::optional(BatchId(position));
    feed.follow(at, BatchId(published), open, seconds(5),
                [answers](Result<ChangeFeed::Answer> answer) { answers->push_back(std::move(answer)); });
    return answers;
  }
  void part(int64_t round, int32_t partition, int64_t since, std::string keys = "") {
    wire::ChangedPartition told;
    told.partition = partition;
    told.since = since;
    told.keys = keys.empty() ? std::to_string(partition) + "@" + std::to_string(round) : std::move(keys);
    feed.add(BatchId(round), std::move(told));
  }
  void round(int64_t batch, int64_t since) {
    for (int32_t partition = 0; partition < 2; ++partition) part(batch, partition, since);
    feed.round_complete(BatchId(batch));
  }
  // "100: 0@100 1@100; 110: ..." or "reset to 100" or an error.
  static std::string text(const Result<ChangeFeed::Answer>& answer) {
    if (!answer) return answer.error().message;
    if (answer->reset) return "reset to " + std::to_string(answer->position.value());
    std::string all;
    for (const ChangeFeed::Round& round : answer->rounds) {
      all += (all.empty() ? "" : "; ") + std::to_string(round.batch.value()) + ":";
      for (const std::string& part : round.parts) all += " " + part;
    }
    return all.empty() ? "nothing since " + std::to_string(answer->position.value()) : all;
  }
  std::string told(int64_t position) {
    const auto answers = follow(position, 1'000'000);
    return answers->empty() ? "waits" : text(answers->front());
  }

  World world{1};
  SimProcess& process = world.add_process("master");
  SimLoop& loop = process.make_loop("control");
  ChangeFeed feed{loop, world.clock(), 2, {.bytes = 4000, .answer_bytes = 1000, .readers = 3}};
};

TEST_F(ChangeFeedTest, is_wanted_for_a_minute_after_a_question) {
  EXPECT_FALSE(feed.wanted());
  follow(-1);
  EXPECT_TRUE(feed.wanted());
  world.run_for(seconds(59));
  EXPECT_TRUE(feed.wanted());
  world.run_for(seconds(2));
  EXPECT_FALSE(feed.wanted());
}

TEST_F(ChangeFeedTest, a_reader_begins_at_the_newest_round_and_goes_on_from_there) {
  EXPECT_EQ(text(follow(-1, 90)->at(0)), "reset to 90");
  const auto next = follow(90, 90);
  EXPECT_TRUE(next->empty());
  round(100, 90);
  ASSERT_EQ(next->size(), 1U);
  EXPECT_EQ(text(next->at(0)), "100: 0@100 1@100");
  EXPECT_EQ(next->at(0)->position, BatchId(100));
  round(110, 100);
  EXPECT_EQ(told(90), "100: 0@100 1@100; 110: 0@110 1@110");
  EXPECT_EQ(told(100), "110: 0@110 1@110");
  EXPECT_EQ(told(80), "reset to 110");
  EXPECT_EQ(told(110), "waits");
}

TEST_F(ChangeFeedTest, a_reader_who_comes_while_a_round_is_open_begins_behind_it) {
  const auto first = follow(-1, 90, true);
  EXPECT_TRUE(first->empty());
  feed.round_complete(BatchId(100));  // whose plan did not ask for changes
  EXPECT_EQ(text(first->at(0)), "reset to 100");
  round(110, 100);
  EXPECT_EQ(told(100), "110: 0@110 1@110");
  EXPECT_EQ(told(90), "reset to 110");
}

TEST_F(ChangeFeedTest, waits_no_longer_than_it_was_asked_to) {
  const auto nothing = follow(90, 90);
  world.run_for(milliseconds(4900));
  EXPECT_TRUE(nothing->empty());
  world.run_for(milliseconds(200));
  EXPECT_EQ(text(nothing->at(0)), "nothing since 90");
  round(100, 90);
  EXPECT_EQ(nothing->size(), 1U);
}

TEST_F(ChangeFeedTest, a_round_that_was_given_up_is_told_with_the_next_one) {
  follow(-1, 90);
  part(100, 0, 90);  // partition 0 was published there, partition 1 was not
  part(110, 0, 100);
  part(110, 1, 90);
  feed.round_complete(BatchId(110));
  EXPECT_EQ(told(90), "110: 0@100 0@110 1@110");
}

TEST_F(ChangeFeedTest, what_comes_again_with_more_takes_the_place_of_what_came_before) {
  follow(-1, 90);
  part(100, 0, 90);
  part(105, 0, 90);
  part(110, 0, 90);
  part(110, 1, 90);
  feed.round_complete(BatchId(110));
  EXPECT_EQ(told(90), "110: 0@110 1@110");
}

TEST_F(ChangeFeedTest, nobody_passes_what_is_missing) {
  follow(-1, 90);
  part(110, 0, 100);  // that of 100 was lost
  part(110, 1, 90);
  feed.round_complete(BatchId(110));
  EXPECT_EQ(told(90), "reset to 110");
  EXPECT_EQ(told(100), "110: 0@110 1@110");  // who has seen 100 elsewhere lacks nothing

  part(120, 0, 110);  // nothing of partition 1
  feed.round_complete(BatchId(120));
  EXPECT_EQ(told(110), "reset to 120");

  part(125, 0, 120);
  part(125, 1, 120);
  part(130, 0, 125);  // that of partition 1 is older than the round
  feed.round_complete(BatchId(130));
  EXPECT_EQ(told(120), "reset to 130");
}

TEST_F(ChangeFeedTest, full_publications_lead_on_from_everywhere) {
  follow(-1, 90);
  round(100, 0);
  EXPECT_EQ(told(7), "100: 0@100 1@100");
}

TEST_F(ChangeFeedTest, what_is_kept_is_bounded_by_bytes_and_time) {
  follow(-1, 90);
  for (int64_t batch = 100; batch < 200; batch += 10) {
    part(batch, 0, batch - 10, std::string(900, 'x'));
    part(batch, 1, batch - 10);
    feed.round_complete(BatchId(batch));
  }
  EXPECT_EQ(told(140), "reset to 190");
  const auto page = follow(150);
  EXPECT_EQ(page->at(0)->position, BatchId(160)) << "one round, since two are more than an answer may have";
  world.run_for(seconds(50));
  follow(190);
  world.run_for(seconds(11));
  round(200, 190);
  EXPECT_EQ(told(180), "reset to 200");
  EXPECT_EQ(told(190), "200: 0@200 1@200");
}

TEST_F(ChangeFeedTest, rounds_that_never_end_keep_nothing_beyond_a_bound) {
  follow(-1, 90);
  for (int64_t batch = 100; batch < 120; ++batch) {
    part(batch, 0, batch - 1, std::string(1 << 20, 'x'));
    part(batch, 1, batch - 1);
  }
  feed.round_complete(BatchId(119));
  EXPECT_EQ(told(99), "reset to 119");
}

TEST_F(ChangeFeedTest, is_silent_when_nobody_has_asked_for_long) {
  follow(-1, 90);
  round(100, 90);
  world.run_for(seconds(61));
  feed.round_complete(BatchId(110));
  EXPECT_FALSE(feed.tell(BatchId(90)));
  EXPECT_EQ(
      text(follow(100, 110)->empty() ? Result<ChangeFeed::Answer>(ChangeFeed::Answer{}) : follow(100, 110)->at(0)),
      "reset to 110");
}

TEST_F(ChangeFeedTest, readers_are_bounded_and_all_are_told_of_the_end) {
  const auto one = follow(90, 90);
  const auto two = follow(90, 90);
  const auto three = follow(90, 90);
  EXPECT_NE(text(follow(90, 90)->at(0)).find("3 readers follow this job already"), std::string::npos);
  feed.fail_all({ErrorCode::kUnavailable, "it has stopped"});
  for (const auto& reader : {one, two, three}) EXPECT_EQ(text(reader->at(0)), "it has stopped");
  round(100, 90);
  EXPECT_TRUE(feed.tell(BatchId(90))) << "the last changes are told after the end";
}

}  // namespace
}  // namespace millrace
