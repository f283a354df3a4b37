// What only a real Redis can do to the sink: refuse, stall, forget its scripts, die in the middle.
#include "adapters/null_sink.h"
#include "adapters/open_sink.h"
#include "tests/conformance/sink_harness.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class RedisSinkTest : public testing::Test, public SinkCalls {
 protected:
  RedisSinkTest() : SinkCalls(loop_) {}
  std::unique_ptr<Sink> connect(const std::string& uri, RedisSinkOptions options = redis_options()) {
    return RedisSink::open(loop_, uri, std::move(options)).value();
  }

  TestLoop loop_{TestLoop::Time::kReal};
};

Publication large_publication(int since, int batch) {
  Hash values;
  for (int key = 0; key < 20'000; ++key) values["k" + std::to_string(key)] = std::to_string(batch);
  return publication(0, 1, since, batch, values);
}

TEST_F(RedisSinkTest, NobodyListeningIsSaidWithPlaceAndRemedy) {
  std::string uri;
  {
    RedisServer redis;
    uri = redis.uri();
  }
  auto sink = connect(uri);
  const Status status = claim(*sink, words_job());
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(status.error().message,
            "Redis at " + uri.substr(sizeof("redis://") - 1) + " refuses connections; start it or correct --sink");
}

TEST_F(RedisSinkTest, AMissingOrWrongPasswordIsInvalidAndNeverShown) {
  RedisServer redis({"--requirepass", "right"});
  for (const std::string login : {"", ":wrong-one@", "somebody:wrong-one@"}) {
    auto sink = connect(redis.uri(login));
    const Status status = claim(*sink, words_job());
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kInvalid) << status.error();
    EXPECT_THAT(status.error().message, AllOf(HasSubstr("USER:PASSWORD in --sink"), Not(HasSubstr("wrong-one"))));
  }
  EXPECT_TRUE(claim(*connect(redis.uri(":right@")), words_job()));
  EXPECT_TRUE(claim(*connect(redis.uri("default:right@")), words_job()));
}

TEST_F(RedisSinkTest, ALoginMayStandInTheConfigurationInsteadOfTheUri) {
  RedisServer redis({"--requirepass", "p@ss:word=1", "--user", "app", "on", ">of-app", "~*", "+@all"});
  const auto claimed = [&](const std::string& login, std::map<std::string, std::string> config) {
    auto sink = open_sink(loop_, {redis.uri(login), std::move(config)}, partition_of);
    return sink ? claim(**sink, words_job()) : Status(std::unexpected(sink.error()));
  };
  EXPECT_TRUE(claimed("", {{"password", "p@ss:word=1"}}));
  EXPECT_TRUE(claimed("", {{"username", "app"}, {"password", "of-app"}}));
  EXPECT_TRUE(claimed("app@", {{"password", "of-app"}}));
  const auto refusal = [&](const std::string& login, std::map<std::string, std::string> config) {
    const Status status = claimed(login, std::move(config));
    EXPECT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(status.error().message, AllOf(HasSubstr("--sink-config"), Not(HasSubstr("of-app"))));
    return status.error().message;
  };
  EXPECT_THAT(refusal("", {{"pasword", "of-app"}}), HasSubstr("'pasword'"));
  EXPECT_THAT(refusal(":of-app@", {{"password", "of-app"}}), HasSubstr("both"));
  EXPECT_THAT(refusal("", {{"username", "app"}}), HasSubstr("without a password"));
  EXPECT_THAT(refusal("", {{"password", "not of-app"}}), HasSubstr("WRONGPASS"));
  EXPECT_EQ(open_sink(loop_, {"none:", {{"password", "x"}}}, partition_of).error().code, ErrorCode::kInvalid);
}

TEST_F(RedisSinkTest, TheDatabaseOfTheUriIsUsed) {
  RedisServer redis;
  ASSERT_TRUE(claim(*connect(redis.uri() + "/3"), words_job()));
  EXPECT_TRUE(redis.keys().empty()) << "database 0";
  const Status status = claim(*connect(redis.uri() + "/99"), words_job());
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(status.error().message, HasSubstr("no database 99"));
}

TEST_F(RedisSinkTest, MalformedUrisAreRefusedWithTheExpectedForm) {
  for (const std::string uri : {"kafka://x", "redis://host:0", "redis://host:99999", "redis://host:x", "redis://host/x",
                                "redis://user@host", "redis://host/1?x=y", "redis://:secret@:1"}) {
    const auto sink = RedisSink::open(loop_, uri, redis_options());
    ASSERT_FALSE(sink.has_value()) << uri;
    EXPECT_EQ(sink.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(sink.error().message, AllOf(HasSubstr("HOST[:PORT][/DB]"), Not(HasSubstr("secret")))) << uri;
  }
}

TEST_F(RedisSinkTest, AnyUriOfASinkIsOpenedByItsScheme) {
  EXPECT_TRUE(open_sink(loop_, {"redis://127.0.0.1:1", {}}, partition_of).has_value());
  EXPECT_EQ(open_sink(loop_, {"kafka://h:1/t", {}}, partition_of).error().code, ErrorCode::kInvalid);
  auto none = open_sink(loop_, {"none:", {}}, partition_of).value();
  EXPECT_TRUE(claim(*none, words_job()));
  EXPECT_EQ(publish(*none, words_job(), publication(0, 1, 5, 6, {{"a", "1"}})), "done");
  EXPECT_EQ(end_round(*none, words_job(), round_end(1, 1, 6, {})), "done");
  EXPECT_TRUE(purge(*none, words_job()));
}

TEST_F(RedisSinkTest, OutOfMemoryIsUnavailableUntilThereIsMemory) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  ASSERT_TRUE(claim(*sink, words_job()));
  redis.command({"CONFIG", "SET", "maxmemory", "1"});
  const std::string refused = publish(*sink, words_job(), publication(0, 1, 0, 1, {{"a", "1"}}));
  EXPECT_THAT(refused, AllOf(StartsWith("unavailable"), HasSubstr("OOM")));
  EXPECT_EQ(claim(*connect(redis.uri()), words_job()).error().code, ErrorCode::kUnavailable);
  redis.command({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_EQ(publish(*sink, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
}

TEST_F(RedisSinkTest, AReplicaIsUnavailableUntilItIsAPrimary) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  ASSERT_TRUE(claim(*sink, words_job()));
  redis.command({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_THAT(publish(*sink, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})),
              AllOf(StartsWith("unavailable"), HasSubstr("READONLY")));
  redis.command({"REPLICAOF", "NO", "ONE"});
  EXPECT_EQ(publish_until_taken(*sink, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
}

TEST_F(RedisSinkTest, AKeyOfAnotherTypeIsNamedAsWrong) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  ASSERT_TRUE(claim(*sink, words_job()));
  redis.command({"SET", "{words}:counts", "x"});
  EXPECT_THAT(publish(*sink, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})), StartsWith("invalid"));
  redis.command({"DEL", "{words}:counts"});
  EXPECT_EQ(publish(*sink, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
  EXPECT_EQ(redis.hash("{words}:counts"), (Hash{{"a", "1"}}));
}

TEST_F(RedisSinkTest, FlushedScriptsAndCutConnectionsAreNotNoticedByTheCaller) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  ASSERT_TRUE(claim(*sink, words_job()));
  redis.command({"SCRIPT", "FLUSH"});
  EXPECT_EQ(publish(*sink, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
  redis.command({"SCRIPT", "FLUSH"});
  EXPECT_EQ(end_round(*sink, words_job(), round_end(1, 1, 1, {{"a", 1}})), "done");
  redis.command({"CLIENT", "KILL", "TYPE", "normal"});
  EXPECT_EQ(publish(*sink, words_job(), publication(0, 1, 1, 2, {{"a", "2"}})), "done");
  redis.command({"CLIENT", "KILL", "TYPE", "normal"});
  EXPECT_EQ(end_round(*sink, words_job(), round_end(1, 1, 2, {{"a", 2}})), "done");
  EXPECT_EQ(redis.hash("{words}:counts"), (Hash{{"a", "2"}}));
}

TEST_F(RedisSinkTest, ARemovalThatBrokeOffIsFinishedByWhoeverComesNext) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  SinkIdentity identity = words_job();
  identity.layout = {{.name = "texts", .form = TableForm::kStrings, .rank = {}}};
  for (const bool purged : {false, true}) {
    ASSERT_TRUE(claim(*sink, identity));
    ASSERT_EQ(publish(*sink, identity, full(large_publication(0, 1))), "done");
    redis.command({"HSET", "{words}:fence", "incarnation", "-1"});
    redis.command({"HDEL", "{words}:texts", "k5"});
    redis.command({"DEL", "{words}:texts:k5"});
    EXPECT_EQ(publish(*sink, identity, large_publication(1, 2)), "data lost") << "it is under way";
    if (purged) {
      EXPECT_TRUE(purge(*sink, identity));
      EXPECT_TRUE(redis.keys().empty());
    } else {
      ASSERT_TRUE(claim(*connect(redis.uri()), identity));
      EXPECT_THAT(redis.keys(), ElementsAre("{words}:fence"));
      EXPECT_EQ(publish(*sink, identity, full(large_publication(0, 2))), "done");
      EXPECT_EQ(redis.keys().size(), 20'002U);
      EXPECT_EQ(redis.command({"GET", "{words}:texts:k5"}).front(), "2");
      EXPECT_TRUE(purge(*sink, identity));
    }
  }
}

TEST_F(RedisSinkTest, AFullPublicationThatBrokeOffIsNothingToBuildOn) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  auto other = connect(redis.uri());
  SinkIdentity identity = words_job();
  identity.layout = {{.name = "index", .form = TableForm::kIndex, .rank = {}}};
  ASSERT_TRUE(claim(*sink, identity));
  const auto member = [](const std::string& key, const std::string& name) {
    return SinkEntry{.key = key + name, .text = {}, .score = 1, .member_at = static_cast<uint32_t>(key.size())};
  };
  Publication all = publication(0, 1, 0, 1, {{"a", "150"}});
  for (int number = 0; number < 150; ++number) all.entries.push_back(member("a", std::to_string(number)));
  ASSERT_EQ(publish(*sink, identity, full(all)), "done");

  // A key of another type ends the last chunk before it writes any member.
  redis.command({"SET", "{words}:index:0", "no sorted set"});
  Publication broken = all;
  broken.batch = BatchId(2);
  broken.entries.push_back(member("0", "x"));
  EXPECT_THAT(publish(*sink, identity, full(broken)), StartsWith("invalid"));
  EXPECT_EQ(redis.sorted_set("{words}:index:a").size(), 99U);
  redis.command({"DEL", "{words}:index:0"});

  Publication next = publication(0, 2, 1, 3, {});
  next.entries.push_back(member("a", "0"));
  EXPECT_EQ(publish(*other, identity, next), "data lost");
  all.generation = Generation(2);
  all.batch = BatchId(3);
  EXPECT_EQ(publish(*other, identity, full(all)), "done");
  EXPECT_EQ(redis.sorted_set("{words}:index:a").size(), 150U);
}

TEST_F(RedisSinkTest, ConnectionsCutInTheMiddleOfPublicationsLoseNothing) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  ASSERT_TRUE(claim(*sink, words_job()));
  for (int batch = 1; batch <= 10; ++batch) {
    const Publication large = large_publication(batch - 1, batch);
    bool taken = false;
    bool answered = true;
    int cuts = 0;
    while (!taken) {
      if (answered) {
        answered = false;
        sink->publish(words_job(), large, [&](Result<PublishOutcome> outcome) {
          answered = true;
          taken = outcome.has_value() && *outcome == PublishOutcome::kDone;
        });
      }
      if (++cuts <= 20) redis.command({"CLIENT", "KILL", "TYPE", "normal"});
      ASSERT_TRUE(loop_.run_until([&] { return answered || cuts <= 20; }));
    }
    Hash expected;
    for (const SinkEntry& entry : large.entries) expected[entry.key] = entry.text;
    ASSERT_EQ(redis.hash("{words}:counts"), expected);
  }
}

TEST_F(RedisSinkTest, ARedisKilledInTheMiddleAndEmptyAgainIsFilledAnew) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  ASSERT_TRUE(claim(*sink, words_job()));
  ASSERT_EQ(publish(*sink, words_job(), large_publication(0, 1)), "done");
  std::optional<Result<PublishOutcome>> outcome;
  sink->publish(words_job(), large_publication(1, 2), [&](Result<PublishOutcome> answer) { outcome = answer; });
  redis.kill();
  ASSERT_TRUE(loop_.run_until([&] { return outcome.has_value(); }));
  redis.start();
  if (!outcome->has_value()) {
    EXPECT_EQ(publish_until_taken(*sink, words_job(), large_publication(1, 2)), "data lost");
  }
  ASSERT_TRUE(claim_until_taken(*sink, words_job()));
  EXPECT_EQ(publish_until_taken(*sink, words_job(), full(large_publication(0, 3))), "done");
  EXPECT_EQ(redis.hash("{words}:counts").size(), 20'000u);
}

TEST_F(RedisSinkTest, AnAnswerThatDoesNotComeIsATimeOutAndTheEndOfTheSinkDoesNotWaitForIt) {
  RedisServer redis;
  RedisSinkOptions options = redis_options();
  options.timeouts.answer = std::chrono::milliseconds(50);
  auto sink = connect(redis.uri(), options);
  auto patient = connect(redis.uri());
  ASSERT_TRUE(claim(*sink, words_job()));
  ASSERT_TRUE(claim(*patient, words_job()));
  redis.freeze();
  EXPECT_THAT(publish(*sink, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})),
              AllOf(StartsWith("unavailable"), HasSubstr("does not answer in time")));
  patient->publish(words_job(), publication(0, 1, 0, 1, {{"a", "1"}}), [](Result<PublishOutcome>) { FAIL(); });
  const auto before = std::chrono::steady_clock::now();
  patient.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(2));
  redis.unfreeze();
  EXPECT_EQ(publish_until_taken(*sink, words_job(), publication(0, 1, 0, 1, {{"a", "1"}})), "done");
}

TEST_F(RedisSinkTest, TakingOverRemovesTheKeysOfAnotherLayoutToo) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  SinkIdentity sums = words_job(5);
  sums.layout = {{.name = "sums", .rank = "best", .rank_size = 10}};
  ASSERT_TRUE(claim(*sink, sums));
  ASSERT_EQ(publish(*sink, sums, publication(0, 1, 0, 1, {{"a", "1"}})), "done");
  ASSERT_EQ(end_round(*sink, sums, round_end(1, 1, 1, {{"a", 1}})), "done");
  ASSERT_EQ(redis.keys().size(), 4u);
  ASSERT_TRUE(claim(*sink, words_job(6), /*take_over=*/true));
  EXPECT_EQ(redis.keys(), std::set<std::string>{"{words}:fence"});
}

TEST_F(RedisSinkTest, TakingOverRemovesAllTablesOfAnotherJob) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  Publication all = publication(0, 1, 0, 1, {{"a", "1"}});
  for (const uint16_t table : {1, 2}) all.entries.push_back({.key = "b", .text = "2", .score = 2, .table = table});
  ASSERT_TRUE(claim(*sink, three_tables(5)));
  ASSERT_EQ(publish(*sink, three_tables(5), all), "done");
  ASSERT_EQ(redis.keys().size(), 5u) << "the fence, three tables and a rank of all keys";
  ASSERT_TRUE(claim(*sink, words_job(6), /*take_over=*/true));
  EXPECT_EQ(redis.keys(), std::set<std::string>{"{words}:fence"});
}

// As it was written while a job had one table.
TEST_F(RedisSinkTest, AFenceOfOneTableIsTakenOverAsItIs) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  redis.command({"HSET", "{words}:fence", "job", to_string(words_job(5).job), "incarnation", "1", "values", "counts",
                 "rank", "top", "size", "1", "p0", "1 1 3 3 17 1"});
  redis.command({"HSET", "{words}:counts", "a", "1"});
  redis.command({"ZADD", "{words}:top", "1", "a"});
  EXPECT_EQ(publish(*sink, words_job(5), publication(0, 1, 3, 4, {{"b", "2"}})), "done");
  ASSERT_TRUE(claim(*sink, words_job(5)));
  EXPECT_EQ(redis.hash("{words}:counts"), (Hash{{"a", "1"}, {"b", "2"}}));
  redis.command({"HDEL", "{words}:fence", "tables"});
  redis.command({"HSET", "{words}:fence", "values", "counts", "rank", "top"});
  SinkIdentity sums = words_job(6);
  sums.layout = {{.name = "sums", .rank = {}}};
  ASSERT_TRUE(claim(*sink, sums, /*take_over=*/true));
  EXPECT_EQ(redis.keys(), std::set<std::string>{"{words}:fence"});
}

TEST_F(RedisSinkTest, ARankThatSomebodyChangedByHandIsMended) {
  RedisServer redis;
  auto sink = connect(redis.uri());
  ASSERT_TRUE(claim(*sink, words_job()));
  ASSERT_EQ(end_round(*sink, words_job(), round_end(1, 1, 1, {{"a", 1}, {"b", 1}})), "done");
  redis.command({"DEL", "{words}:top"});
  ASSERT_EQ(end_round(*sink, words_job(), round_end(1, 1, 2, {{"a", 1}, {"b", 2}})), "done");
  EXPECT_EQ(redis.sorted_set("{words}:top"), (Rank{{"a", 1}, {"b", 2}}));
}

TEST_F(RedisSinkTest, TooManyWaitingCallsAreRefused) {
  RedisServer redis;
  RedisSinkOptions options = redis_options();
  options.max_calls = 3;
  auto sink = connect(redis.uri(), options);
  ASSERT_TRUE(claim(*sink, words_job()));
  redis.freeze();
  int refused = 0;
  int answered = 0;
  for (int batch = 1; batch <= 10; ++batch) {
    sink->publish(words_job(), publication(0, 1, 0, batch, {}), [&](Result<PublishOutcome> outcome) {
      ++answered;
      if (!outcome.has_value()) ++refused;
    });
  }
  ASSERT_TRUE(loop_.run_until([&] { return answered > 0; }));
  EXPECT_GE(refused, 1);
  redis.unfreeze();
  ASSERT_TRUE(loop_.run_until([&] { return answered == 10; }));
  EXPECT_GE(refused, 6);
  EXPECT_LE(refused, 7);
}

}  // namespace
}  // namespace millrace
