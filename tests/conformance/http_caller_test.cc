#include "adapters/asio_http_caller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "adapters/http_server.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;

class HttpCallerTest : public testing::Test {
 protected:
  void start(HttpServer::Handler handler, HttpServerOptions options = {}) {
    options.address = "127.0.0.1:0";
    auto server = HttpServer::start(options, std::move(handler));
    ASSERT_TRUE(server) << server.error();
    server_ = std::move(*server);
    port_ = server_->port();
  }

  Result<HttpResponse> call(const std::string& body = "", Duration limit = 10s, const std::string& host = "127.0.0.1") {
    Result<HttpResponse> heard = fail(ErrorCode::kInternal, "not called");
    caller_.call({.server = {host, port_},
                  .method = "POST",
                  .target = "/a%2Fb?c=d",
                  .body = body,
                  .headers = {{"X-Word", "word"}},
                  .limit = limit},
                 [&heard](Result<HttpResponse> answer) { heard = std::move(answer); });
    caller_.run();
    return heard;
  }

  std::unique_ptr<HttpServer> server_;
  uint16_t port_ = 0;
  AsioHttpCaller caller_;
};

void echo(const HttpRequest& request, HttpReply reply) {
  reply({.status = 429,
         .body = request.path.at(0) + " " + request.parameter("c") + " " + std::string(request.header("X-Word")) + " " +
                 request.body,
         .headers = {{"Retry-After", "3"}}});
}

TEST_F(HttpCallerTest, what_a_server_answers_is_heard_whatever_its_status) {
  start(echo);
  for (const char* host : {"127.0.0.1", "localhost", "127.0.0.1"}) {
    const auto answer = call("text", 10s, host);
    ASSERT_TRUE(answer) << answer.error();
    EXPECT_EQ(answer->status, 429);
    EXPECT_EQ(answer->body, "a/b d word text");
    EXPECT_THAT(answer->headers, testing::Contains(testing::Pair("Retry-After", "3")));
  }
}

TEST_F(HttpCallerTest, a_connection_that_was_closed_while_nothing_was_under_way_is_made_anew) {
  start(echo, {.idle_timeout = 20ms});
  ASSERT_TRUE(call());
  caller_.schedule(200ms, [] {});
  caller_.run();
  EXPECT_TRUE(call());
}

TEST_F(HttpCallerTest, a_refusal_that_comes_before_all_was_sent_is_heard) {
  start(echo, {.max_body_bytes = 1000});
  const auto answer = call(std::string(10'000'000, 'a'));
  ASSERT_TRUE(answer) << answer.error();
  EXPECT_EQ(answer->status, 413);
}

TEST_F(HttpCallerTest, where_nobody_listens_nothing_was_sent) {
  start(echo);
  server_.reset();
  const auto answer = call();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
}

TEST_F(HttpCallerTest, what_is_not_answered_may_have_been_done) {
  std::vector<HttpReply> kept;
  start([&kept](const HttpRequest&, HttpReply reply) { kept.push_back(std::move(reply)); });
  const auto late = call("", 50ms);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);

  Result<HttpResponse> lost;
  caller_.call({.server = {"127.0.0.1", port_}, .target = "/", .body = "", .headers = {}, .limit = 10s},
               [&lost](Result<HttpResponse> answer) { lost = std::move(answer); });
  caller_.schedule(100ms, [this] { server_.reset(); });
  caller_.run();
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::kTimeout);
}

TEST_F(HttpCallerTest, stop_leaves_what_is_under_way) {
  start(echo);
  bool late = false;
  caller_.schedule(1h, [&late] { late = true; });
  caller_.schedule(1ms, [this] { caller_.stop(); });
  caller_.run();
  EXPECT_FALSE(late);
}

}  // namespace
}  // namespace millrace
