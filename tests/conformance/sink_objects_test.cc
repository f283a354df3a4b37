// What a sink holds of single keys beside a table's hash: texts of their own, and the members of an index.
#include "tests/conformance/sink_harness.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Keys = std::set<std::string>;

class SinkObjectsTest : public SinkTest {};

INSTANTIATE_TEST_SUITE_P(Sinks, SinkObjectsTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Redis" : "Fake"; });

constexpr uint16_t kTexts = 0;
constexpr uint16_t kIndex = 1;

SinkIdentity texts_and_index(uint64_t job = 7, int incarnation = 1) {
  SinkIdentity identity = words_job(job, incarnation);
  identity.layout = {{.name = "texts", .form = TableForm::kStrings, .rank = {}},
                     {.name = "index", .form = TableForm::kIndex, .rank = "most", .rank_all = true, .rank_size = 10}};
  return identity;
}

SinkEntry entry(uint16_t table, const std::string& key, const std::string& text, bool removed = false) {
  return {.key = key, .text = text, .score = removed ? 0 : std::stod(text), .removed = removed, .table = table};
}

SinkEntry member(const std::string& key, const std::string& member, double count, bool removed = false) {
  return {.key = key + member,
          .text = {},
          .score = count,
          .removed = removed,
          .table = kIndex,
          .member_at = static_cast<uint32_t>(key.size())};
}

Publication of(Publication made, std::vector<SinkEntry> entries) {
  made.entries = std::move(entries);
  return made;
}

// A key with its text, and one with two members; both are of partition 0.
Publication both(int generation, int since, int batch) {
  return of(publication(0, generation, since, batch, {}),
            {entry(kTexts, "a", "1"), entry(kIndex, "b", "2"), member("b", "x", 3), member("b", "y", 1)});
}

TEST_P(SinkObjectsTest, TextsStandBesideTheHash) {
  ASSERT_TRUE(claim(*sink_, texts_and_index()));
  const std::string binary("a\0\xff\n:", 5);
  EXPECT_EQ(publish(*sink_, texts_and_index(), publication(0, 1, 0, 1, {{"a", "1"}, {"b", "2"}, {binary, "3"}})),
            "done");
  EXPECT_EQ(server_->strings_of("texts"), (Hash{{"a", "1"}, {"b", "2"}, {binary, "3"}}));
  EXPECT_EQ(publish(*sink_, texts_and_index(), publication(0, 1, 1, 2, {{"a", "5"}}, {"b", "never there"})), "done");
  EXPECT_EQ(server_->strings_of("texts"), (Hash{{"a", "5"}, {binary, "3"}}));
  EXPECT_EQ(server_->values_of("texts"), server_->strings_of("texts"));
}

TEST_P(SinkObjectsTest, MembersComeChangeAndGoWithTheirKeys) {
  ASSERT_TRUE(claim(*sink_, texts_and_index()));
  EXPECT_EQ(
      publish(*sink_, texts_and_index(),
              of(publication(0, 1, 0, 1, {}), {entry(kIndex, "a", "2"), entry(kIndex, "ab", "2"), member("ab", "c", 4),
                                               member("a", "bc", -3), member("a", "", 1), member("ab", "d", 1)})),
      "done");
  EXPECT_EQ(server_->values_of("index"), (Hash{{"a", "2"}, {"ab", "2"}}));
  EXPECT_EQ(server_->rank_of("index", "most"), (Rank{{"a", 2}, {"ab", 2}}));
  EXPECT_EQ(server_->members_of("index", "a"), (Rank{{"", 1}, {"bc", -3}}));
  EXPECT_EQ(server_->members_of("index", "ab"), (Rank{{"c", 4}, {"d", 1}}));
  EXPECT_EQ(publish(*sink_, texts_and_index(),
                    of(publication(0, 1, 1, 2, {}),
                       {entry(kIndex, "ab", "", true), entry(kIndex, "k", "1"), member("ab", "c", 0, true),
                        member("a", "", 0, true), member("a", "bc", 7), member("ab", "d", 0, true), member("a", "z", 2),
                        member("k", "x", 1)})),
            "done");
  EXPECT_EQ(server_->members_of("index", "a"), (Rank{{"bc", 7}, {"z", 2}}));
  EXPECT_THAT(server_->listed_keys("index"), ElementsAre("a", "k"));
}

TEST_P(SinkObjectsTest, AFullPublicationLeavesNothingElseOfItsPartition) {
  ASSERT_TRUE(claim(*sink_, texts_and_index()));
  EXPECT_EQ(publish(*sink_, texts_and_index(),
                    of(publication(0, 1, 0, 1, {}),
                       {entry(kTexts, "a", "1"), entry(kTexts, "b", "1"), entry(kIndex, "c", "2"), member("c", "x", 1),
                        member("c", "y", 1), entry(kIndex, "d", "1"), member("d", "x", 1)})),
            "done");
  EXPECT_EQ(
      publish(*sink_, texts_and_index(),
              of(publication(1, 1, 0, 1, {}), {entry(kTexts, "z", "1"), entry(kIndex, "z", "1"), member("z", "x", 1)})),
      "done");
  EXPECT_EQ(publish(*other_, texts_and_index(),
                    full(of(publication(0, 2, 0, 2, {}), {entry(kTexts, "b", "2"), entry(kIndex, "c", "2"),
                                                          member("c", "y", 5), member("c", "z", 1)}))),
            "done");
  EXPECT_EQ(server_->strings_of("texts"), (Hash{{"b", "2"}, {"z", "1"}}));
  EXPECT_THAT(server_->listed_keys("index"), ElementsAre("c", "z"));
  EXPECT_EQ(server_->members_of("index", "c"), (Rank{{"y", 5}, {"z", 1}}));
  EXPECT_EQ(server_->members_of("index", "z"), (Rank{{"x", 1}}));
}

TEST_P(SinkObjectsTest, AListOfManyChunksArrivesWholeHoweverOftenItIsSent) {
  ASSERT_TRUE(claim(*sink_, texts_and_index()));
  std::vector<SinkEntry> entries = {entry(kIndex, "a", "1500")};
  Rank members;
  for (int number = 0; number < 1500; ++number) {
    entries.push_back(member("a", std::to_string(number), number));
    members[std::to_string(number)] = number;
  }
  Hash texts;
  for (int number = 0; number < 300; ++number) {
    texts["k" + std::to_string(number)] = "1";
    entries.push_back(entry(kTexts, "k" + std::to_string(number), "1"));
  }
  for (int generation = 1; generation <= 2; ++generation) {
    for (const bool all : {false, true}) {
      Publication large = of(publication(0, generation, 0, 2 * generation + (all ? 1 : 0), {}), entries);
      large.full = all;
      EXPECT_EQ(publish(*sink_, texts_and_index(), large), "done");
      EXPECT_EQ(server_->members_of("index", "a"), members);
      EXPECT_EQ(server_->strings_of("texts"), texts);
    }
  }
}

TEST_P(SinkObjectsTest, NothingIsLeftOfThemAfterAPurgeOrATakeOver) {
  for (const bool take_over : {false, true}) {
    ASSERT_TRUE(claim(*sink_, texts_and_index(7), take_over));
    EXPECT_EQ(publish(*sink_, texts_and_index(7), both(1, 0, 1)), "done");
    EXPECT_EQ(claim(*other_, words_job(8)).error().code, ErrorCode::kExists);
    EXPECT_THAT(server_->listed_keys("index"), ElementsAre("b")) << "nothing is done without the word";
    if (take_over) {
      ASSERT_TRUE(claim(*other_, words_job(8), true));
      EXPECT_EQ(server_->strings_of("texts"), Hash());
      EXPECT_THAT(server_->listed_keys("index"), IsEmpty());
      EXPECT_EQ(publish(*other_, words_job(8), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
      EXPECT_TRUE(purge(*other_, words_job(8)));
    } else {
      EXPECT_TRUE(purge(*other_, words_job(8))) << "which does not have them";
      EXPECT_EQ(server_->strings_of("texts"), (Hash{{"a", "1"}}));
      EXPECT_TRUE(purge(*other_, texts_and_index(7)));
    }
    EXPECT_FALSE(server_->holds_anything());
  }
}

TEST_P(SinkObjectsTest, AClaimKeepsThemUnlessSomethingIsLostOrTheirTableIsNoMore) {
  ASSERT_TRUE(claim(*sink_, texts_and_index()));
  EXPECT_EQ(publish(*sink_, texts_and_index(), both(1, 0, 1)), "done");
  ASSERT_TRUE(claim(*other_, texts_and_index()));
  EXPECT_EQ(server_->members_of("index", "b"), (Rank{{"x", 3}, {"y", 1}}));
  EXPECT_EQ(server_->strings_of("texts"), (Hash{{"a", "1"}}));

  server_->lose_values("index");
  EXPECT_EQ(publish(*sink_, texts_and_index(), both(1, 1, 2)), "data lost");
  ASSERT_TRUE(claim(*other_, texts_and_index()));
  EXPECT_EQ(server_->strings_of("texts"), Hash());
  EXPECT_EQ(publish(*sink_, texts_and_index(),
                    full(of(publication(0, 1, 0, 2, {}), {entry(kIndex, "b", "1"), member("b", "x", 4)}))),
            "done");
  EXPECT_EQ(server_->members_of("index", "b"), (Rank{{"x", 4}})) << "what was left of it is not in it";

  SinkIdentity next = texts_and_index(7, 2);
  next.layout.pop_back();
  ASSERT_TRUE(claim(*other_, next));
  EXPECT_THAT(server_->listed_keys("index"), IsEmpty());
  EXPECT_EQ(publish(*sink_, texts_and_index(), both(1, 2, 3)), "fenced");
}

TEST_P(SinkObjectsTest, AClaimWithoutAFenceFindsThemToo) {
  ASSERT_TRUE(claim(*sink_, texts_and_index()));
  EXPECT_EQ(publish(*sink_, texts_and_index(), both(1, 0, 1)), "done");
  const RoundEnd end = round_end(1, 1, 1, {}, {{"job_id", to_string(JobId(7))}});
  EXPECT_EQ(end_round(*sink_, texts_and_index(), of_partitions(1, end)), "done");
  server_->lose_fence();
  ASSERT_TRUE(claim(*other_, texts_and_index()));
  EXPECT_EQ(server_->strings_of("texts"), Hash());
  EXPECT_THAT(server_->listed_keys("index"), IsEmpty());
  EXPECT_EQ(publish(*sink_, texts_and_index(), full(both(1, 0, 2))), "done");
  EXPECT_EQ(server_->members_of("index", "b"), (Rank{{"x", 3}, {"y", 1}}));
}

}  // namespace
}  // namespace millrace
