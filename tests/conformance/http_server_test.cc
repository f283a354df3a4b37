#include "adapters/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <queue>

#include "common/seams/http_routes.h"
#include "tests/conformance/http_client.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

// Answers with what it was asked.
void echo(HttpRequest request, HttpReply reply) {
  nlohmann::json asked = {{"method", request.method},
                          {"path", request.path},
                          {"query", request.query},
                          {"body", request.body},
                          {"word", request.header("x-word")}};
  reply({.body = asked.dump()});
}

std::unique_ptr<HttpServer> start(HttpServer::Handler handler, HttpServerOptions options = {}) {
  options.address = "127.0.0.1:0";
  auto server = HttpServer::start(options, std::move(handler));
  EXPECT_TRUE(server) << server.error();
  return std::move(*server);
}

std::string post(size_t length, const std::string& body, const std::string& more = "Connection: close\r\n") {
  return "POST /a HTTP/1.1\r\nHost: a\r\n" + more + "Content-Length: " + std::to_string(length) + "\r\n\r\n" + body;
}

// Keeps requests until the test answers them.
class Waiting {
 public:
  HttpServer::Handler handler() {
    return [this](HttpRequest, HttpReply reply) {
      const std::lock_guard lock(mutex_);
      replies_.push(std::move(reply));
    };
  }
  HttpReply next() {
    while (true) {
      const std::lock_guard lock(mutex_);
      if (replies_.empty()) continue;
      HttpReply reply = std::move(replies_.front());
      replies_.pop();
      return reply;
    }
  }

 private:
  std::mutex mutex_;
  std::queue<HttpReply> replies_;  // guarded by mutex_
};

TEST(HttpServerTest, ARequestComesDecodedAndItsAnswerGoesBack) {
  const auto server = start(echo);
  EXPECT_EQ(server->address(), "127.0.0.1:" + std::to_string(server->port()));
  const std::string answer =
      http_fetch(server->port(),
                 "POST /jobs/a%2Fb%20c//x?n=3&q=a%26b+c&q=last&flag HTTP/1.1\r\nHost: a\r\nX-Word: w\r\n"
                 "Connection: close\r\nContent-Length: 4\r\n\r\ntext");
  EXPECT_THAT(answer, AllOf(StartsWith("HTTP/1.1 200 OK"), HasSubstr("Content-Type: application/json"),
                            HasSubstr(R"("path":["jobs","a/b c","","x"])"), HasSubstr(R"("body":"text")"),
                            HasSubstr(R"("query":{"flag":"","n":"3","q":"last"})"), HasSubstr(R"("word":"w")")));
  EXPECT_THAT(http_get(server->port(), "/../../etc/passwd"), HasSubstr(R"(["..","..","etc","passwd"])"));
}

TEST(HttpServerTest, AConnectionServesRequestsInTheirOrderAlsoWhenTheyComeAtOnce) {
  const auto server = start(echo);
  const HttpClient client(server->port());
  client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string both = client.until(R"(["2"])");
  EXPECT_THAT(both, AllOf(HasSubstr(R"(["1"])"), HasSubstr(R"(["2"])")));
  client.send("GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.rest(), HasSubstr(R"(["3"])"));
}

TEST(HttpServerTest, HeadIsAnsweredWithoutABody) {
  const auto server = start(echo);
  const std::string answer = http_fetch(server->port(), "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, AllOf(HasSubstr("Content-Length: "), EndsWith("\r\n\r\n")));
}

TEST(HttpServerTest, BodiesComeInChunksAndAfterContinueToo) {
  const auto server = start(echo);
  EXPECT_THAT(http_fetch(server->port(),
                         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                         "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
              HasSubstr(R"("body":"abcde")"));
  const HttpClient client(server->port());
  client.send(post(3, "", "Expect: 100-continue\r\nConnection: close\r\n"));
  EXPECT_THAT(client.until("\r\n\r\n"), StartsWith("HTTP/1.1 100 Continue"));
  client.send("abc");
  EXPECT_THAT(client.rest(), HasSubstr(R"("body":"abc")"));
}

TEST(HttpServerTest, WhatIsNoRequestIsAnsweredByAProblemThatSaysWhy) {
  const auto server = start(echo);
  const std::string garbage = http_fetch(server->port(), "\x01\x02garbage\r\n\r\n");
  EXPECT_THAT(garbage, AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("application/problem+json"),
                             HasSubstr("this is no HTTP request")));
  EXPECT_THAT(http_get(server->port(), "/a%zz"), AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("a%zz' is no path")));
  EXPECT_THAT(http_get(server->port(), "/a?b=%4"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(http_fetch(server->port(), "GET a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(http_get(server->port(), "/" + std::string(20'000, 'a')),
              AllOf(StartsWith("HTTP/1.1 431"), HasSubstr("larger than 16384 bytes")));
  EXPECT_THAT(http_get(server->port(), "/"), StartsWith("HTTP/1.1 200"));
}

TEST(HttpServerTest, ALargeBodyIsRefusedBeforeItHasCome) {
  const auto server = start(echo, {.max_body_bytes = 1000});
  EXPECT_THAT(http_fetch(server->port(), post(1000, std::string(1000, 'a'))), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(http_fetch(server->port(), post(1001, "")), AllOf(StartsWith("HTTP/1.1 413"), HasSubstr("1000 bytes")));
  // All of it is sent, and the answer can be read all the same.
  EXPECT_THAT(http_fetch(server->port(), post(10'000'000, std::string(10'000'000, 'a'))), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(http_fetch(server->port(), "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" +
                                             std::string(1001, 'a') + "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
}

TEST(HttpServerTest, BodiesHaveABoundTogether) {
  Waiting waiting;
  const auto server = start(waiting.handler(), {.max_body_bytes = 1000, .max_bodies_bytes = 1500});
  const HttpClient first(server->port());
  first.send(post(1000, std::string(1000, 'a')));
  HttpReply reply = waiting.next();
  EXPECT_THAT(http_fetch(server->port(), post(501, "")),
              AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("Retry-After: 1\r\n")));
  reply({.body = "{}"});
  EXPECT_THAT(first.rest(), StartsWith("HTTP/1.1 200"));
  const HttpClient second(server->port());
  second.send(post(501, std::string(501, 'a')));
  waiting.next()({.body = "{}"});
  EXPECT_THAT(second.rest(), StartsWith("HTTP/1.1 200"));
}

TEST(HttpServerTest, ASlowRequestHasADeadlineAndHoldsUpNobody) {
  const auto server = start(echo, {.request_timeout = std::chrono::milliseconds(200)});
  const HttpClient slow_head(server->port());
  const HttpClient slow_body(server->port());
  slow_head.send("GET /he");
  slow_body.send(post(10, "abc"));
  EXPECT_THAT(http_get(server->port(), "/"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(slow_head.rest(), AllOf(StartsWith("HTTP/1.1 408"), HasSubstr("200 ms")));
  EXPECT_THAT(slow_body.rest(), StartsWith("HTTP/1.1 408"));
}

TEST(HttpServerTest, AnIdleConnectionIsClosedAfterATime) {
  const auto server = start(echo, {.idle_timeout = std::chrono::milliseconds(200)});
  const HttpClient client(server->port());
  EXPECT_EQ(client.rest(), "");
}

TEST(HttpServerTest, ForANewConnectionTheLongestIdleOneMakesWay) {
  Waiting waiting;
  const auto server = start(waiting.handler(), {.max_connections = 3});
  const HttpClient at_work(server->port());
  at_work.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  HttpReply reply = waiting.next();
  const HttpClient older(server->port());
  const HttpClient newer(server->port());
  const HttpClient third(server->port());
  EXPECT_EQ(older.rest(), "");
  EXPECT_TRUE(newer.silent());
  reply({.body = "{}"});
  EXPECT_THAT(at_work.rest(), StartsWith("HTTP/1.1 200"));
}

TEST(HttpServerTest, WhereNoneIsIdleTheOneWhoseRequestHasBeenArrivingLongestMakesWay) {
  const auto server = start(echo, {.max_connections = 2});
  const HttpClient slow_head(server->port());
  slow_head.send("GET /he");
  const HttpClient slow_body(server->port());
  slow_body.send(post(10, "abc"));
  // Until what was sent is there they are idle, and the first to make way.
  EXPECT_THAT(http_get(server->port(), "/"), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(slow_head.rest(), "");
  slow_body.send("defghij");
  EXPECT_THAT(slow_body.rest(), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("abcdefghij")));
}

TEST(HttpServerTest, WhereNoneIsIdleOrArrivingOneThatReadsItsAnswerSlowlyMakesWay) {
  Waiting waiting;
  const auto server = start(
      [large = waiting.handler()](HttpRequest request, HttpReply reply) {
        (request.path.at(0) == "large" ? large : echo)(request, std::move(reply));
      },
      {.max_connections = 2, .response_timeout = std::chrono::minutes(10)});
  const std::array slow = {HttpClient(server->port()), HttpClient(server->port())};
  for (const HttpClient& each : slow) each.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  for (size_t answered = 0; answered < slow.size(); ++answered) waiting.next()({.body = std::string(64u << 20, 'a')});
  std::string answer;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!answer.starts_with("HTTP/1.1 200") && std::chrono::steady_clock::now() < until) {
    answer = http_get(server->port(), "/");
  }
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
}

TEST(HttpServerTest, WhereAllConnectionsAreAtWorkANewOneIsToldToComeAgain) {
  Waiting waiting;
  std::atomic<int> refused = 0;
  const auto server =
      start(waiting.handler(), {.max_connections = 1, .refused = [&](int status) { refused = status; }});
  const HttpClient at_work(server->port());
  at_work.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  HttpReply reply = waiting.next();
  const HttpClient patient(server->port());
  patient.send(post(1, "a", ""));
  EXPECT_THAT(patient.rest(),
              AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("application/problem+json"), HasSubstr("Retry-After: 1\r\n"),
                    HasSubstr("connections of this server are taken")));
  EXPECT_EQ(refused, 503);
  reply({.body = "{}"});
  EXPECT_THAT(at_work.rest(), StartsWith("HTTP/1.1 200"));
  // Neither of both has gone yet, and neither takes a place.
  const HttpClient next(server->port());
  next.send(post(1, "a"));
  waiting.next()({.body = "{}"});
  EXPECT_THAT(next.rest(), StartsWith("HTTP/1.1 200"));
}

TEST(HttpServerTest, WhatTheServerRefusesItselfIsTold) {
  std::mutex mutex;
  std::vector<int> told;
  const auto server = start(echo, {.max_head_bytes = 1000,
                                   .max_body_bytes = 100,
                                   .request_timeout = std::chrono::milliseconds(100),
                                   .refused = [&](int status) {
                                     const std::lock_guard lock(mutex);
                                     told.push_back(status);
                                   }});
  http_fetch(server->port(), "no request\r\n\r\n");
  http_fetch(server->port(), "GET /%x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  http_fetch(server->port(), "GET / HTTP/1.1\r\nHost: " + std::string(2000, 'a') + "\r\n\r\n");
  http_fetch(server->port(), post(101, ""));
  http_fetch(server->port(), post(10, "a"));
  http_get(server->port(), "/");
  const std::lock_guard lock(mutex);
  EXPECT_THAT(told, testing::ElementsAre(400, 400, 431, 413, 408));
}

TEST(HttpServerTest, AReplyThatIsDroppedIsA500AndOneAfterTheEndIsNoHarm) {
  std::optional<HttpReply> late;
  Waiting waiting;
  auto server = start(waiting.handler());
  const HttpClient client(server->port());
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  waiting.next();
  EXPECT_THAT(client.until("known"), StartsWith("HTTP/1.1 500"));
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  late.emplace(waiting.next());
  server.reset();
  (*late)({.body = "{}"});
  EXPECT_EQ(client.rest(), "");
}

TEST(HttpServerTest, EveryAnswerHasTheServersHeadersAndARequestTheAddressItComesFrom) {
  const auto server = start([](HttpRequest request, HttpReply reply) { reply({.body = request.peer}); },
                            {.max_body_bytes = 10, .headers = {{"X-Frame-Options", "DENY"}}});
  EXPECT_THAT(http_get(server->port(), "/"), AllOf(HasSubstr("X-Frame-Options: DENY"), EndsWith("127.0.0.1")));
  EXPECT_THAT(http_fetch(server->port(), post(11, "")), AllOf(HasSubstr(" 413 "), HasSubstr("X-Frame-Options: DENY")));
}

TEST(HttpServerTest, ADrainedServerAnswersWhatIsUnderWayAndTakesNoMore) {
  Waiting waiting;
  const auto server = start(waiting.handler());
  const HttpClient idle(server->port());
  const HttpClient client(server->port());
  client.send(post(1, "a", ""));
  HttpReply reply = waiting.next();
  EXPECT_FALSE(server->drain(std::chrono::milliseconds(1)));
  EXPECT_EQ(idle.rest(), "");
  EXPECT_FALSE(HttpClient(server->port()).connected());
  reply({.body = "late"});
  EXPECT_THAT(client.rest(), AllOf(HasSubstr("Connection: close"), EndsWith("late")));
  EXPECT_TRUE(server->drain(std::chrono::seconds(10)));
}

TEST(HttpRoutesTest, MethodAndPathChooseAndOthersAreTold) {
  HttpRoutes routes;
  routes.add("GET", "/jobs/NAME/counts/WORD", [](const HttpRequest&, HttpRoutes::Arguments arguments, HttpReply reply) {
    reply({.body = arguments.at(0) + "|" + arguments.at(1)});
  });
  routes.add("POST", "/jobs", [](const HttpRequest&, const HttpRoutes::Arguments&, HttpReply reply) {
    reply({.status = 201, .body = "made"});
  });
  const auto server = start(routes);
  EXPECT_THAT(http_get(server->port(), "/jobs/w%20c/counts/a%2Fb"), EndsWith("\r\n\r\nw c|a/b"));
  EXPECT_THAT(http_get(server->port(), "/jobs"), AllOf(StartsWith("HTTP/1.1 405"), HasSubstr("Allow: POST\r\n")));
  EXPECT_THAT(http_get(server->port(), "/none"),
              AllOf(StartsWith("HTTP/1.1 404"),
                    HasSubstr("'/none' is not there; there is GET /jobs/NAME/counts/WORD, POST /jobs")));
  EXPECT_THAT(http_fetch(server->port(), "HEAD /jobs/a/counts/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Content-Length: 3\r\n")));
}

}  // namespace
}  // namespace millrace
