// A gateway's routes for jobs, a RemoteApi behind them, and behind that an API server with a fake service.
#include "gateway/job_routes.h"

#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "adapters/http_stream.h"
#include "adapters/remote_api.h"
#include "adapters/system_clock.h"
#include "gateway/submission.h"
#include "gateway/table_export.h"
#include "tests/conformance/client_fixture.h"

namespace millrace {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

class JobRoutesTest : public ClientTest {
 protected:
  void SetUp() override {
    ClientTest::SetUp();
    open(1000);
  }
  void open(size_t most_waiting) {
    gateway_ = std::make_unique<Gateway>(GatewayOptions(), clock_, metrics_);
    api_ = std::make_unique<RemoteApi>(
        RemoteApiOptions{.master = {"127.0.0.1", server_->port()}, .questions = 2, .most_waiting = most_waiting});
    routes_ = std::make_unique<JobRoutes>(*api_);
    routes_->add_to(*gateway_);
  }
  std::future<HttpResponse> send(const std::string& method, std::vector<std::string> path,
                                 std::map<std::string, std::string> query = {}, std::string body = "") {
    auto answer = std::make_shared<std::promise<HttpResponse>>();
    HttpRequest request{.method = method, .path = {"api", "v1"}, .query = std::move(query), .body = std::move(body)};
    request.path.insert(request.path.end(), path.begin(), path.end());
    (*gateway_)(std::move(request),
                HttpReply([answer](HttpResponse response) { answer->set_value(std::move(response)); }));
    return answer->get_future();
  }
  HttpResponse ask(const std::string& method, std::vector<std::string> path,
                   std::map<std::string, std::string> query = {}, std::string body = "") {
    return send(method, std::move(path), std::move(query), std::move(body)).get();
  }
  json get(std::vector<std::string> path, std::map<std::string, std::string> query = {}) {
    const HttpResponse answer = ask("GET", std::move(path), std::move(query));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body);
  }
  // "404 there is no job 'missing'"
  static std::string problem(const HttpResponse& answer) {
    return std::to_string(answer.status) + " " + json::parse(answer.body).value("detail", "");
  }

  SystemClock clock_;
  GatewayMetrics metrics_;
  std::unique_ptr<Gateway> gateway_;
  std::unique_ptr<RemoteApi> api_;
  std::unique_ptr<JobRoutes> routes_;
};

TEST_F(JobRoutesTest, QuestionsAreAnsweredInTheFormOfTheCommandLine) {
  EXPECT_EQ(get({"jobs"}), json::parse(run({"--json", "jobs"}).out));
  EXPECT_EQ(get({"workers"}), json::parse(run({"--json", "workers"}).out));
  EXPECT_EQ(get({"jobs", "a"}), json::parse(run({"--json", "describe", "a"}).out));
  EXPECT_EQ(get({"jobs", "a", "checkpoints"}), json::parse(run({"--json", "checkpoints", "a"}).out));
  EXPECT_EQ(get({"jobs", "a", "lag"}).at("partitions").size(), 2U);
  EXPECT_EQ(get({"jobs", "a", "batches"}, {{"n", "3"}}).at("batches").size(), 3U);
  EXPECT_EQ(get({"jobs", "a", "dead-letters"}, {{"limit", "100"}, {"partition", "20"}}).at("total").get<int>() % 10, 0);
}

TEST_F(JobRoutesTest, CountsAreAsOfTheBatchThatTheyName) {
  const json count = get({"jobs", "a", "counts", "nul\0 & <b>"}, {{"at_least", "7"}, {"table", "sums"}});
  EXPECT_EQ(count.at("batch"), 7);
  EXPECT_EQ(count.at("table"), "sums");
  EXPECT_EQ(count.at("word"), "nul\0 & <b>");
  EXPECT_EQ(get({"jobs", "a", "counts", "missing"}).at("count"), nullptr);
  EXPECT_EQ(get({"jobs", "a", "top"}, {{"n", "3"}}).at("values").at(0).at("word"), "the");
}

TEST_F(JobRoutesTest, ASearchGoesOnByItsNextPageAndTotalsSayWhatTheyCounted) {
  const json first = get({"jobs", "a", "search"}, {{"prefix", "the "}, {"limit", "2"}, {"table", "sums"}});
  EXPECT_EQ(first.at("job"), "a");
  EXPECT_EQ(first.at("batch"), 7);
  EXPECT_EQ(first.at("table"), "sums");
  EXPECT_EQ(first.at("counts"), json::parse(R"([{"key": "the w0", "value": 0}, {"key": "the w1", "value": 1}])"));
  const json next = get({"jobs", "a", "search"}, {{"limit", "1000"}, {"after", first.at("next_page")}});
  EXPECT_EQ(next.at("counts").at(0).at("key"), "w2");
  EXPECT_EQ(get({"jobs", "a", "search"}, {{"after", "2499"}}).at("next_page"), "");
  EXPECT_EQ(problem(ask("GET", {"jobs", "gone", "search"}, {{"after", "5"}})), "410 the snapshot is gone");
  EXPECT_THAT(problem(ask("GET", {"jobs", "a", "search"}, {{"limit", "0"}})), HasSubstr("400 limit is 0"));

  const json totals = get({"jobs", "a", "totals"});
  EXPECT_EQ(totals.at("keys"), 3);
  EXPECT_EQ(totals.at("sum"), 12);
  EXPECT_EQ(get({"jobs", "a", "totals"}, {{"table", "texts"}}).at("sum"), nullptr);
}

// What a reader gets who takes all that comes, and how it ended.
std::pair<std::string, bool> read_all(const HttpResponse& response) {
  if (!response.stream) return {response.body, true};
  std::atomic<int> news = 0;
  const auto wake = [&news] {
    ++news;
    news.notify_one();
  };
  const auto stream = std::make_shared<QueuedStream>(1 << 20, wake);
  std::string all = response.body;
  response.stream(stream);
  for (int seen = 0;;) {
    QueuedStream::Taken taken = stream->take();
    EXPECT_LE(taken.parts.size(), 1U) << "a page is read when the one before is with the reader";
    for (const HttpStream::Part& part : taken.parts) all += *part;
    if (taken.ended && taken.parts.empty()) return {all, !taken.broken};
    if (!taken.parts.empty()) continue;
    news.wait(seen);
    seen = news;
  }
}

TEST_F(JobRoutesTest, AnExportIsATableOfOneBatchPageByPage) {
  TableExport table_export(*api_);
  table_export.add_to(*gateway_);
  const HttpResponse whole = ask("GET", {"jobs", "a", "export.csv"}, {{"prefix", "=a,\"b\""}});
  EXPECT_EQ(whole.status, 200);
  EXPECT_TRUE(whole.marks_end);
  EXPECT_THAT(whole.headers, testing::Contains(testing::Pair("Millrace-Batch", "7")));
  const auto [text, is_whole] = read_all(whole);
  EXPECT_TRUE(is_whole);
  std::string expected = "key,value\r\n";
  for (int i = 0; i < 2500; ++i) {
    expected += "\"=a,\"\"b\"\"w" + std::to_string(i) + "\"," + std::to_string(i) + "\r\n";
  }
  EXPECT_EQ(text, expected);
  EXPECT_EQ(service_.searches, 3);

  const HttpResponse safe = ask("GET", {"jobs", "a", "export.csv"}, {{"prefix", "="}, {"spreadsheet", "true"}});
  EXPECT_THAT(read_all(safe).first, HasSubstr("\r\n'=w1,1\r\n"));
  const auto [begun, ended] = read_all(ask("GET", {"jobs", "gone", "export.csv"}));
  EXPECT_FALSE(ended);
  EXPECT_THAT(begun, testing::EndsWith("w999,999\r\n"));
  EXPECT_EQ(problem(ask("GET", {"jobs", "missing", "export.csv"})), "404 there is no job 'missing'");
}

TEST_F(JobRoutesTest, ChangesAreFollowedFromAPosition) {
  const json first = get({"jobs", "a", "changes"});
  EXPECT_EQ(first.at("reset"), true);
  const json next = get({"jobs", "a", "changes"}, {{"after", first.at("position")}});
  EXPECT_EQ(next.at("reset"), false);
  EXPECT_EQ(next.at("batches").at(0).at("changes"),
            json::parse(R"([{"word": "a", "count": 2}, {"word": "b", "count": null}])"));
  EXPECT_EQ(next.at("position"), next.at("batches").at(0).at("position"));
}

TEST_F(JobRoutesTest, CommandsReachTheMaster) {
  const HttpResponse submitted =
      ask("POST", {"jobs"}, {},
          R"({"name": "wc", "type": "word_count", "source": "log://text", "sink": "redis://h", "batch_interval_ms": 20,
              "settings": {"words": "unicode"}, "take_over": true})");
  EXPECT_EQ(submitted.status, 201);
  EXPECT_EQ(json::parse(submitted.body).at("name"), "wc");
  EXPECT_EQ(service_.last_submit.batch_interval_ms, 20);
  EXPECT_EQ(service_.last_submit.checkpoint_interval_ms, 1000);
  EXPECT_EQ(service_.last_submit.settings.at("words"), "unicode");
  EXPECT_TRUE(service_.last_submit.take_over);
  EXPECT_EQ(ask("POST", {"jobs", "a", "stop"}).status, 200);
  EXPECT_EQ(ask("POST", {"jobs", "a", "resume"}).status, 200);
  EXPECT_EQ(json::parse(ask("POST", {"jobs", "a", "resume"}, {{"from", "12"}}).body).at("batch"), 12);
  EXPECT_EQ(ask("DELETE", {"jobs", "a"}, {{"purge", "true"}}).status, 200);
}

TEST_F(JobRoutesTest, WhatCannotBeRightIsToldWithItsPlace) {
  EXPECT_EQ(problem(ask("GET", {"jobs", "missing"})), "404 there is no job 'missing'");
  EXPECT_THAT(problem(ask("GET", {"jobs", "../etc"})), HasSubstr("400 "));
  EXPECT_THAT(problem(ask("GET", {"jobs", "a", "top"}, {{"n", "many"}})), HasSubstr("400 ?n= is 'many'"));
  EXPECT_THAT(problem(ask("GET", {"jobs", "a", "top"}, {{"n", "9999999999"}})), HasSubstr("400 ?n= is"));
  EXPECT_THAT(problem(ask("GET", {"jobs", "a", "top"}, {{"n", "1001"}})), HasSubstr("400 n is 1001"));
  EXPECT_THAT(problem(ask("GET", {"jobs", "a", "changes"}, {{"after", "7"}})), HasSubstr("400 '7' is no position"));
  EXPECT_THAT(problem(ask("GET", {"jobs", "a", "changes"}, {{"wait_ms", "10001"}})), HasSubstr("at most 10000"));
  EXPECT_THAT(problem(ask("DELETE", {"jobs", "a"}, {{"purge", "yes"}})), HasSubstr("must be true or false"));
  EXPECT_THAT(problem(ask("PUT", {"jobs", "a"})), HasSubstr("405 "));
  const auto refused = [&](const std::string& body) { return problem(ask("POST", {"jobs"}, {}, body)); };
  EXPECT_THAT(refused("{"), HasSubstr("400 this is no JSON"));
  EXPECT_THAT(refused(R"({"name": 1e999})"), HasSubstr("400 this is no JSON"));
  EXPECT_THAT(refused("[]"), HasSubstr("400 expected an object"));
  EXPECT_THAT(refused(R"({"name": 5})"), HasSubstr("400 'name' must be a string"));
  EXPECT_THAT(refused(R"({"nam": "a"})"), AllOf(HasSubstr("400 a job has no 'nam'"), HasSubstr("name, ")));
  EXPECT_THAT(refused(R"({"name": "a", "type": "b"})"), HasSubstr("400 'source' is missing"));
  EXPECT_THAT(refused(R"({"settings": {"a": 1}})"), HasSubstr("'settings' must be an object of strings"));
  EXPECT_THAT(refused(R"({"state_partitions": 99999999999})"), HasSubstr("must be a whole number"));
  EXPECT_THAT(refused(R"({"settings": {"a": {"b": {}}}})"), HasSubstr("400 "));
  EXPECT_THAT(problem(ask("POST", {"jobs", "refused", "stop"})), HasSubstr("400 that cannot be"));
}

TEST_F(JobRoutesTest, AMasterThatIsAwayIs503AndIsFoundAgain) {
  const uint16_t port = server_->port();
  EXPECT_EQ(ask("GET", {"jobs"}).status, 200);
  server_.reset();
  const HttpResponse away = ask("GET", {"jobs"});
  EXPECT_EQ(away.status, 503);
  EXPECT_THAT(problem(away), HasSubstr("does not answer"));
  start("127.0.0.1:" + std::to_string(port));
  EXPECT_EQ(ask("GET", {"jobs"}).status, 200);
}

TEST_F(JobRoutesTest, ThoseWhoWaitForChangesAreBoundedAndHoldUpNoQuestion) {
  std::vector<std::future<HttpResponse>> silent;
  for (int i = 0; i < 16; ++i) silent.push_back(send("GET", {"jobs", "silent", "changes"}));
  const HttpResponse more = ask("GET", {"jobs", "a", "changes"});
  EXPECT_THAT(problem(more), HasSubstr("503 16 requests wait for changes already"));
  EXPECT_THAT(more.headers, testing::Contains(testing::Pair("Retry-After", "1")));
  EXPECT_EQ(get({"jobs", "a", "changes"}, {{"wait_ms", "0"}}).at("reset"), true);
  server_.reset();  // answers the silent ones
  for (auto& each : silent) EXPECT_EQ(each.get().status, 503);
  EXPECT_THAT(problem(ask("GET", {"jobs", "a", "changes"})), testing::Not(HasSubstr("wait for changes")));
}

TEST_F(JobRoutesTest, QuestionsThatWaitAreBoundedAndHoldUpNoCommand) {
  open(3);
  std::vector<std::future<HttpResponse>> silent;
  for (int i = 0; i < 2; ++i) silent.push_back(send("GET", {"jobs", "silent"}));  // on both threads
  while (server_->connections() < 2) std::this_thread::yield();
  std::vector<std::future<HttpResponse>> more;
  // Up to three wait; those that come while the first two are still being taken do, too.
  while (true) {
    more.push_back(send("GET", {"jobs", "a"}));
    if (more.back().wait_for(std::chrono::seconds(0)) == std::future_status::ready) break;
  }
  EXPECT_LE(more.size(), 4U);
  EXPECT_THAT(problem(more.back().get()), HasSubstr("503 too many calls"));
  EXPECT_EQ(ask("POST", {"jobs", "a", "stop"}).status, 200);
  server_.reset();  // answers the silent ones
  for (auto& each : silent) EXPECT_EQ(each.get().status, 503);
}

}  // namespace
}  // namespace millrace
