#include "adapters/http_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <future>
#include <vector>

#include "tests/conformance/http_client.h"

namespace millrace {
namespace {

using testing::HasSubstr;

HttpStatusOptions options_of(const std::string& address) {
  return {.address = address,
          .status_json = [] { return std::string("{\"jobs\":[]}"); },
          .metrics_text = [] { return std::string("# TYPE millrace_epoch gauge\nmillrace_epoch 3\n"); }};
}

TEST(HttpStatusTest, HealthStatusAndMetricsAreServed) {
  auto server = HttpStatus::start(options_of("127.0.0.1:0"));
  ASSERT_TRUE(server) << server.error();
  const uint16_t port = (*server)->port();
  EXPECT_NE(port, 0);
  EXPECT_EQ((*server)->address(), "127.0.0.1:" + std::to_string(port));
  EXPECT_THAT(http_get(port, "/health"), HasSubstr("\"status\":\"ok\""));
  EXPECT_THAT(http_get(port, "/status"), HasSubstr("{\"jobs\":[]}"));
  EXPECT_THAT(http_get(port, "/metrics"), HasSubstr("# TYPE millrace_epoch gauge\nmillrace_epoch 3\n"));
  EXPECT_THAT(http_get(port, "/../../etc/passwd"), HasSubstr("404"));
  EXPECT_THAT(http_fetch(port, "\x01\x02garbage\r\n\r\n"), HasSubstr("400"));
  EXPECT_THAT(http_get(port, "/" + std::string(5000, 'a')), HasSubstr("404"));
  EXPECT_THAT(http_get(port, "/" + std::string(20'000, 'a')), HasSubstr("431"));
  EXPECT_THAT(http_get(port, "/health"), HasSubstr("200 OK"));
}

TEST(HttpStatusTest, SlowClientsHoldUpNobodyAndTheEndDoesNotWaitForThem) {
  auto server = HttpStatus::start(options_of("127.0.0.1:0"));
  ASSERT_TRUE(server);
  std::vector<HttpClient> slow;
  for (int i = 0; i < 40; ++i) {
    slow.emplace_back((*server)->port());
    slow.back().send("GET /he");
  }
  EXPECT_THAT(http_get((*server)->port(), "/health"), HasSubstr("200 OK"));
  server->reset();
  EXPECT_TRUE(std::ranges::all_of(slow, [](const HttpClient& client) { return client.rest().empty(); }));
}

TEST(HttpStatusTest, RequestsBeyondThoseThatWaitAreRefused) {
  HttpStatusOptions options = options_of("127.0.0.1:0");
  std::promise<void> release;
  options.status_json = [released = release.get_future().share()] {
    released.wait();
    return std::string("{}");
  };
  auto server = HttpStatus::start(options);
  ASSERT_TRUE(server);
  std::vector<HttpClient> clients;
  for (int i = 0; i < 4 + 64 + 8; ++i) {  // those at work, those that wait, and some more
    clients.emplace_back((*server)->port());
    clients.back().send("GET /status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  }
  // A request that a thread has taken does not wait any more: until all four have, it depends on time how many are
  // refused, but a first one is, since a thread takes only one.
  std::vector<pollfd> waited;
  waited.reserve(clients.size());
  for (const HttpClient& client : clients) waited.push_back({client.fd(), POLLIN, 0});
  EXPECT_GT(poll(waited.data(), waited.size(), -1), 0);
  release.set_value();
  const auto refused = std::ranges::count_if(
      clients, [](const HttpClient& client) { return client.rest().starts_with("HTTP/1.1 503"); });
  EXPECT_GE(refused, 1);
  EXPECT_LE(refused, 8 + 4);
}

TEST(HttpStatusTest, AProblemTurnsHealthTo503) {
  HttpStatusOptions options = options_of("127.0.0.1:0");
  options.problem = [] { return std::string("no worker"); };
  auto server = HttpStatus::start(options);
  ASSERT_TRUE(server);
  EXPECT_THAT(http_get((*server)->port(), "/health"), testing::AllOf(HasSubstr("503"), HasSubstr("no worker")));
}

TEST(HttpStatusTest, FurtherPagesGetWhatIsAskedAndAnswerWithTheirCode) {
  HttpStatusOptions options = options_of("127.0.0.1:0");
  options.pages.push_back({"/jobs/NAME/batches", [](const auto& groups, const auto& query) {
                             if (groups.at(0) == "none") return HttpPage::Answer{404, "{\"error\":\"no job\"}"};
                             return HttpPage::Answer{200, groups.at(0) + "?" + query.at("n")};
                           }});
  auto server = HttpStatus::start(options);
  ASSERT_TRUE(server);
  const uint16_t port = (*server)->port();
  EXPECT_THAT(http_get(port, "/jobs/w%20c/batches?n=3"), testing::AllOf(HasSubstr("200 OK"), HasSubstr("w c?3")));
  EXPECT_THAT(http_get(port, "/jobs/none/batches"), testing::AllOf(HasSubstr("404"), HasSubstr("no job")));
  EXPECT_THAT(http_get(port, "/jobs/a/b/batches"),
              HasSubstr("there is GET /jobs/NAME/batches, GET /health, GET /status"));
}

TEST(HttpStatusTest, APortInUseAndAMalformedAddressAreNamed) {
  auto first = HttpStatus::start(options_of("127.0.0.1:0"));
  ASSERT_TRUE(first);
  auto second = HttpStatus::start(options_of((*first)->address()));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().message, HasSubstr("--http " + (*first)->address()));
  EXPECT_EQ(HttpStatus::start(options_of("7072")).error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace millrace
