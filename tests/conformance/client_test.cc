// The command line against the API server with a fake service behind it, over real sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/conformance/client_fixture.h"

namespace millrace {
namespace {

using testing::HasSubstr;

// What is written to it, and something to do when that is flushed.
class Told : public std::stringbuf {
 public:
  explicit Told(std::function<void()> then) : then_(std::move(then)) {}

 protected:
  int sync() override {
    then_();
    return 0;
  }

 private:
  const std::function<void()> then_;
};

TEST_F(ClientTest, EveryCommandSucceedsWithTextAndWithOneJsonObject) {
  const std::vector<std::vector<std::string>> commands = {
      {"submit", "word_count", "--name", "wc", "--source", "log://lines", "--sink", "none:"},
      {"jobs", "--available"},
      {"upgrade", "wc", "word_count", "--set", "rank=all"},
      {"describe", "wc"},
      {"stop", "wc"},
      {"resume", "wc", "--from", "7"},
      {"kill", "wc", "--purge"},
      {"checkpoints", "wc"},
      {"workers"},
      {"lag", "wc"},
      {"get", "wc", "the", "of"},
      {"top", "wc", "-n", "3"},
      {"docs", "wc", "the", "--limit", "3", "--after", "2:b"},
      {"dead-letters", "wc"},
      {"watch", "wc", "--updates", "1"}};
  for (auto command : commands) {
    const Done plain = run(command);
    EXPECT_EQ(plain.code, 0) << command[0] << plain.err;
    EXPECT_FALSE(plain.out.empty()) << command[0];
    command.emplace_back("--json");
    const Done json = run(command);
    EXPECT_EQ(json.code, 0) << command[0] << json.err;
    EXPECT_TRUE(nlohmann::json::parse(json.out).is_object()) << json.out;
  }
}

TEST_F(ClientTest, SubmitSendsWhatWasTyped) {
  std::istringstream typed(
      "submit word_count --name wc --source kafka://a:1,b:2/t --sink redis://h/1 --batch-interval 50ms --start latest "
      "--checkpoint-interval 1m --set rank=all --set field=text --max-record-bytes 10 --state-partitions 8 "
      "--take-over --on-bad-record=fail");
  const Done done = run({std::istream_iterator<std::string>(typed), {}});
  ASSERT_EQ(done.code, 0) << done.err;
  const api::SubmitRequest& request = service_.last_submit;
  EXPECT_EQ(request.type, "word_count");
  EXPECT_EQ(request.source, "kafka://a:1,b:2/t");
  EXPECT_EQ(request.batch_interval_ms, 50);
  EXPECT_EQ(request.checkpoint_interval_ms, 60'000);
  EXPECT_EQ(request.start, "latest");
  EXPECT_EQ(request.settings, (std::map<std::string, std::string>{{"rank", "all"}, {"field", "text"}}));
  EXPECT_EQ(request.max_record_bytes, 10);
  EXPECT_EQ(request.state_partitions, 8);
  EXPECT_TRUE(request.take_over);
  EXPECT_TRUE(request.fail_on_bad_record);
}

TEST_F(ClientTest, SubmitTakesASecretOfTheSinkFromAFileAndNamesOnlyItsLine) {
  const std::string path = testing::TempDir() + "sink_config." + std::to_string(getpid());
  const std::vector<std::string> arguments = {"submit", "word_count",  "--name",        "wc", "--source", "log://a",
                                              "--sink", "redis://h/1", "--sink-config", path};
  std::ofstream(path) << "# of the sink\nusername=app\npassword=p@ss=word:1\n";
  const Done done = run(arguments);
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(service_.last_submit.sink_config,
            (std::map<std::string, std::string>{{"username", "app"}, {"password", "p@ss=word:1"}}));
  EXPECT_TRUE(service_.last_submit.source_config.empty());
  EXPECT_EQ((done.out + done.err).find("p@ss"), std::string::npos);
  std::ofstream(path, std::ios::trunc) << "hunter2\n";
  const Done wrong = run(arguments);
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, testing::AllOf(HasSubstr(path + ":1"), testing::Not(HasSubstr("hunter2"))));
  unlink(path.c_str());
}

TEST_F(ClientTest, WordsPrintWithATabAndTheirCount) {
  EXPECT_EQ(run({"get", "wc", "the", "of"}).out, "the\t3\nof\t2\n");
  EXPECT_EQ(run({"get", "wc", "--", "--json"}).out, "--json\t6\n");
  const Done missing = run({"get", "wc", "the", "missing"});
  EXPECT_EQ(missing.code, 0);
  EXPECT_EQ(missing.out, "the\t3\nmissing\t-\n");
  EXPECT_EQ(missing.err, "millrace: shown as -, since there is no such key: 1 of 2\n");
  const Done json = run({"get", "wc", "missing", "--json"});
  EXPECT_EQ(nlohmann::json::parse(json.out)["values"][0]["count"], nullptr);
  EXPECT_EQ(json.err, "");
}

TEST_F(ClientTest, AFailureIsOneLineAndExitCodeOne) {
  const Done missing = run({"stop", "missing"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(missing.err, "millrace: there is no job 'missing'\n");
  EXPECT_EQ(missing.out, "");
  server_.reset();
  for (const std::string command : {"jobs", "workers"}) {
    const Done away = run({command});
    EXPECT_EQ(away.code, 1);
    EXPECT_EQ(away.err, "millrace: no master at " + address_ + "; start millrace-master or give --api\n");
  }
  EXPECT_EQ(run({"watch", "wc"}).code, 1);
  EXPECT_EQ(run({"append", "log://lines"}, input_of("a\n")).code, 1);
}

TEST_F(ClientTest, AMasterThatDoesNotListenYetIsWaitedForAndThatIsSaid) {
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"jobs", "--wait", "1m"}, {"append", "log://lines", "--retry-for", "1m"}}) {
    server_.reset();
    Told told([this] { start(address_); });
    std::ostream err(&told);
    std::ostringstream out;
    client::Session session{.out = out, .err = err};
    session.input = input_of("a\n");
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.begin(), {"--api", address_});
    EXPECT_EQ(client::run_client(arguments, session), 0) << told.str();
    EXPECT_EQ(told.str(), "millrace: no master at " + address_ + " yet; waiting up to 60 s\n");
  }
  server_.reset();
  const Done away = run({"jobs", "--wait", "300ms"});
  EXPECT_EQ(away.code, 1);
  EXPECT_EQ(away.err, "millrace: no master at " + address_ + "; start millrace-master or give --api\n");
}

TEST_F(ClientTest, AMasterThatIsStartingIsWaitedFor) {
  service_.starting = 3;
  const Done done = run({"jobs", "--wait", "1m"});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(service_.starting, 0);
  service_.starting = 3;
  EXPECT_EQ(run({"jobs"}).code, 1);
  EXPECT_EQ(service_.starting, 2);
}

TEST_F(ClientTest, WhatListensAndIsNoMasterIsToldFromOneSoon) {
  const int silent = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any{.sin_family = AF_INET};
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(any);
  ASSERT_EQ(bind(silent, reinterpret_cast<sockaddr*>(&any), size), 0);
  ASSERT_EQ(listen(silent, 1), 0);
  ASSERT_EQ(getsockname(silent, reinterpret_cast<sockaddr*>(&any), &size), 0);
  const std::string address = "127.0.0.1:" + std::to_string(ntohs(any.sin_port));
  std::ostringstream out, err;
  client::Session session{.out = out, .err = err, .greeting_limit = std::chrono::seconds(1)};
  EXPECT_EQ(client::run_client({"--api", address, "jobs"}, session), 1);
  EXPECT_THAT(err.str(), HasSubstr("what listens at " + address + " has not answered like a master within 1 s"));
  close(silent);
}

TEST_F(ClientTest, AnOutputThatCannotBeWrittenIsAFailureWithItsReason) {
  std::ofstream out("/dev/full");
  std::ostringstream err;
  client::Session session{.out = out, .err = err};
  EXPECT_EQ(client::run_client({"--api", address_, "jobs"}, session), 1);
  EXPECT_EQ(err.str(), "millrace: cannot write the output: No space left on device\n");
}

TEST_F(ClientTest, WhatTheMasterFindsWrongInASubmitIsWrongUsage) {
  const Done submit = run({"submit", "word_count", "--name", "refused", "--source", "log://a", "--sink", "none:"});
  EXPECT_EQ(submit.code, 2);
  EXPECT_EQ(submit.err, "millrace: that cannot be\n");
  EXPECT_EQ(run({"submit", "word_count", "--name", "missing", "--source", "log://a", "--sink", "none:"}).code, 1);
  EXPECT_EQ(run({"resume", "refused"}).code, 1);
}

TEST_F(ClientTest, ANameThatIsTakenIsToldBeforeAnythingIsDoneForTheJob) {
  const auto submit = [&](const std::string& name) {
    return run({"submit", "word_count", "--name", name, "--source", "socket://h:1", "--through", "log://lines",
                "--sink", "none:"});
  };
  const Done taken = submit("wc");
  EXPECT_EQ(taken.code, 1);
  EXPECT_EQ(taken.err, "millrace: there is a job 'wc' already; kill it first or take another name\n");
  EXPECT_EQ(ingest_.opened, 0);
  EXPECT_EQ(run({"submit", "./none.so", "--name", "wc", "--source", "log://a", "--sink", "none:"}).err, taken.err);
  submit("missing");
  EXPECT_EQ(ingest_.opened, 1);
}

TEST_F(ClientTest, AStopThatIsNotInOrderIsAFailureWithItsReason) {
  const Done done = run({"stop", "untidy"});
  EXPECT_EQ(done.code, 1);
  EXPECT_EQ(done.out, "");
  EXPECT_EQ(done.err, "millrace: job 'untidy': stopped without a last checkpoint\n");
  EXPECT_THAT(run({"upgrade", "untidy", "word_count"}).err, HasSubstr("stop it first; it goes on as it was"));
  EXPECT_THAT(run({"upgrade", "outrun", "word_count"}).err, HasSubstr("it was not resumed (it runs already); if "));
  const Done json = run({"stop", "untidy", "--json"});
  EXPECT_EQ(json.code, 1);
  EXPECT_EQ(nlohmann::json::parse(json.out)["problem"], "stopped without a last checkpoint");
}

TEST_F(ClientTest, AnUpgradeThatLosesAStateIsAgreedToByNameBeforeAnythingStops) {
  const std::string lost = "  dropped  counts: text -> int64; all that it holds is lost\n";
  for (const bool plan : {false, true}) {
    std::vector<std::string> typed = {"upgrade", "dropping", "word_count"};
    if (plan) typed.emplace_back("--plan");
    const Done refused = run(typed);
    EXPECT_EQ(refused.code, 2);
    EXPECT_EQ(refused.out, "job dropping would become version 2\n" + lost);
    EXPECT_EQ(refused.err, "millrace: state 'counts' would be dropped\n");
  }
  const Done json = run({"upgrade", "dropping", "word_count", "--plan", "--json"});
  EXPECT_EQ(json.code, 2);
  EXPECT_EQ(nlohmann::json::parse(json.out)["problem"], "state 'counts' would be dropped");
  EXPECT_EQ(nlohmann::json::parse(json.out)["states"][0]["note"], "all that it holds is lost");
  EXPECT_EQ(run({"upgrade", "dropping", "word_count", "--drop", "counts", "--plan"}).code, 0);
  EXPECT_EQ(service_.stops, 0);
  const Done agreed = run({"upgrade", "dropping", "word_count", "--drop", "counts"});
  EXPECT_EQ(agreed.code, 0) << agreed.err;
  EXPECT_THAT(agreed.out, HasSubstr("job dropping becomes version 2\n" + lost));
  EXPECT_EQ(service_.stops, 1);
}

TEST_F(ClientTest, KillSaysWhatBecomesOfTheKeysAndTheWayOutLater) {
  EXPECT_EQ(run({"kill", "sinkless"}).out, "job sinkless killed\n");
  EXPECT_THAT(run({"kill", "wc"}).out, HasSubstr("are left, and a job of that name needs --take-over"));
  EXPECT_THAT(run({"kill", "missing", "--purge"}).err, HasSubstr("--take-over and kill that with --purge"));
}

TEST_F(ClientTest, LagWaitsUntilWhatWasInTheLogIsAppliedAndPublished) {
  const Done done = run({"lag", "lagging", "--until-zero", "1m"});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(service_.lag_calls, 6);  // applied at the fourth
  service_.lag_calls = 0;
  EXPECT_EQ(run({"lag", "wc"}).code, 0);
  EXPECT_EQ(service_.lag_calls, 1);
  service_.lag_calls = 0;
  const Done late = run({"lag", "lagging", "--until-zero", "1ms"});
  EXPECT_EQ(late.code, 1);
  EXPECT_THAT(late.err, HasSubstr("after 1ms: Redis is away"));
}

TEST_F(ClientTest, LagShowsTheLastKnownEndsAndThatTheyAre) {
  service_.lag_problem = "no broker";
  const Done done = run({"lag", "wc"});
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.out, HasSubstr("records behind at batch 1"));
  EXPECT_EQ(done.err, "millrace: these ends of the log are only the last known: no broker\n");
}

TEST_F(ClientTest, AHostThatIsNotKnownIsNamedAtOnce) {
  address_ = "nohost.invalid:7071";
  const Done done = run({"jobs", "--wait", "1m"});
  EXPECT_EQ(done.code, 1);
  EXPECT_EQ(done.err, "millrace: the host 'nohost.invalid' is not known; correct --api\n");
}

TEST_F(ClientTest, WrongUsageIsOneLineAndExitCodeTwo) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"nonsense"},
      {"jobs", "--nonsense"},
      {"stop"},
      {"stop", "a/b"},
      {"get", "wc"},
      {"top", "wc", "-n", "0"},
      {"top", "wc", "-n", "1001"},
      {"append", "redis://a"},
      {"append", "log://a/b"},
      {"append", "kafka://a/t"},
      {"lag", "wc", "--until-zero", "0"},
      {"submit", "word_count", "--name", "wc", "--source", "lines", "--sink", "none:"},
      {"submit", "word_count", "--name", "wc", "--source", "log://a", "--sink", "none:", "--batch-interval", "1"},
      {"submit", "word_count", "--name", "wc", "--source", "log://a", "--sink", "none:", "--start", "middle"},
      {"submit", "word_count", "--name", "wc", "--source", "log://a", "--sink", "none:", "--kafka-config", "/none"},
      {"submit", "word_count", "--name", "wc", "--source", "log://a", "--sink", "none:", "--sink-config", "/none"},
  };
  for (const auto& arguments : wrong) {
    const Done done = run(arguments);
    EXPECT_EQ(done.code, 2) << done.err;
    EXPECT_EQ(std::count(done.err.begin(), done.err.end(), '\n'), 1) << done.err;
    EXPECT_EQ(done.out, "");
  }
}

TEST_F(ClientTest, AUriThatIsNoneIsAnsweredWithTheKindsThatFit) {
  const auto submit = [&](const std::string& source, const std::string& sink) {
    return run({"submit", "word_count", "--name", "wc", "--source", source, "--sink", sink}).err;
  };
  EXPECT_EQ(submit("log:lines", "none:"),
            "millrace: --source: 'log:lines' is not a URI; expected kafka://HOST:PORT/TOPIC or log://NAME; with "
            "--through socket://HOST:PORT or directory:///PATH; see `millrace submit --help`\n");
  EXPECT_EQ(submit("log://lines", "redis:host"),
            "millrace: --sink: 'redis:host' is not a URI; expected redis://HOST[:PORT][/DB] or none:; see `millrace "
            "submit --help`\n");
  EXPECT_EQ(run({"append", "log:lines"}).err,
            "millrace: URI: 'log:lines' is not a URI; expected log://NAME or kafka://HOST:PORT[,HOST:PORT]/TOPIC; see "
            "`millrace append --help`\n");
}

TEST_F(ClientTest, WatchNeverShowsAnEarlierBatchAndSurvivesARestartOfTheMaster) {
  std::jthread restarting([this] {
    while (service_.calls < 4) std::this_thread::yield();
    server_.reset();
    start(address_);
  });
  const Done done = run({"watch", "wc", "--updates", "12"});
  ASSERT_EQ(done.code, 0) << done.err;
  std::istringstream lines(done.out);
  int64_t newest = 0;
  int blocks = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("batch ")) continue;
    EXPECT_GT(std::stoll(line.substr(6)), newest);
    newest = std::stoll(line.substr(6));
    ++blocks;
  }
  EXPECT_EQ(blocks, 12);
}

TEST_F(ClientTest, WatchWaitsForAJobThatCannotAnswerYetAndSaysSoOnce) {
  const Done done = run({"watch", "recovering", "--updates", "1"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "millrace: not all state is back yet; waiting\n");
  EXPECT_THAT(done.out, HasSubstr("the\t"));
}

TEST_F(ClientTest, WatchRedrawsInPlaceOnATerminal) {
  const Done done = run({"watch", "wc", "--updates", "2"}, -1, true);
  EXPECT_EQ(done.code, 0);
  EXPECT_THAT(done.out, HasSubstr("\x1b[2A\r\x1b[J"));  // over the two lines of the first
}

}  // namespace
}  // namespace millrace
