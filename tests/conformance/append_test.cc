// append of the command line, to a master that comes and goes and to a Kafka that is not there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>
#include <sstream>
#include <thread>

#include "tests/conformance/client_fixture.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using AppendTest = ClientTest;

TEST_F(AppendTest, AppendStoresEachLineOnceThoughAnswersAreLostAndTheMasterRestarts) {
  std::string text;
  std::multiset<std::string> expected;
  for (int i = 0; i < 60'000; ++i) {
    expected.insert("line " + std::to_string(i));
    text += "line " + std::to_string(i) + "\n";
  }
  std::jthread restarting([this] {
    while (ingest_.stored().empty()) std::this_thread::yield();
    server_.reset();
    start(address_);
  });
  const Done done = run({"append", "log://lines", "--partitions", "3"}, input_of(text));
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out, "60000 records made durable in log://lines\n");
  std::multiset<std::string> stored;
  const auto partitions = ingest_.stored();
  EXPECT_EQ(partitions.size(), 3);
  for (const auto& [partition, records] : partitions) stored.insert(records.begin(), records.end());
  EXPECT_EQ(stored, expected);
}

TEST_F(AppendTest, AppendGivesUpOnAMasterThatStaysAwayAndSaysWhatIsDurable) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::jthread writer([&] {
    ASSERT_EQ(write(ends[1], "one\n", 4), 4);
    while (ingest_.stored().empty()) std::this_thread::yield();
    server_.reset();
    ASSERT_EQ(write(ends[1], "two\n", 4), 4);
    close(ends[1]);
  });
  const Done done = run({"append", "log://lines", "--retry-for", "300ms"}, ends[0]);
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, HasSubstr(" made durable before"));
  close(ends[0]);
}

TEST_F(AppendTest, AppendRefusesALineThatNoMessageCouldCarry) {
  const Done done = run({"append", "log://lines"}, input_of("a\n" + std::string(9 << 20, 'x') + "\n"));
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, HasSubstr("line 2 of the input is longer than 8 MiB"));
}

TEST_F(AppendTest, AppendTakesMoreOverOneConnectionThanOneMessageMayHold) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += std::string(1 << 20, 'x') + "\n";
  const Done done = run({"append", "log://lines"}, input_of(text));
  EXPECT_EQ(done.code, 0) << done.err;
}

TEST_F(AppendTest, KafkaIsWaitedForAsLongAsWasAsked) {
  const auto asked = [&](std::vector<std::string> options) {
    client::KafkaTarget seen;
    std::ostringstream out, err;
    client::Session session{.out = out, .err = err};
    session.input = input_of("a\n");
    session.open_kafka = [&](const client::KafkaTarget& target) -> Result<std::unique_ptr<client::Appender>> {
      seen = target;
      return fail(ErrorCode::kUnavailable, "no Kafka here");
    };
    options.insert(options.begin(), {"append", "kafka://a:1/t"});
    EXPECT_EQ(client::run_client(options, session), 1);
    return std::pair(seen.wait.count(), seen.retry_for.count());
  };
  EXPECT_EQ(asked({}), std::pair(10'000L, 120'000L));
  EXPECT_EQ(asked({"--wait", "3s"}), std::pair(3'000L, 120'000L));
  EXPECT_EQ(asked({"--retry-for", "5s"}), std::pair(5'000L, 5'000L));
}

TEST_F(AppendTest, KafkaIsLeftToWhoeverCanOpenIt) {
  const Done done = run({"append", "kafka://a:1/t"}, input_of("a\n"));
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, HasSubstr("cannot append to Kafka"));
}

}  // namespace
}  // namespace millrace
