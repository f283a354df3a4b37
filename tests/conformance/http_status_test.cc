#include "adapters/http_status.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <vector>

namespace millrace {
namespace {

using testing::HasSubstr;

// -1: no connection.
int connect_to(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

std::string fetch(uint16_t port, const std::string& request) {
  const int fd = connect_to(port);
  if (fd < 0) return "no connection";
  send(fd, request.data(), request.size(), MSG_NOSIGNAL);  // the answer tells whether it arrived
  std::string answer;
  char buffer[4096];
  for (ssize_t n = 0; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) answer.append(buffer, n);
  close(fd);
  return answer;
}

std::string get(uint16_t port, const std::string& path) {
  return fetch(port, "GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
}

HttpStatusOptions options_of(const std::string& address) {
  return {.address = address,
          .status_json = [] { return std::string("{\"jobs\":[]}"); },
          .metrics_text = [] { return metric("millrace_epoch", "gauge", "epoch of the master", 3); }};
}

TEST(HttpStatusTest, HealthStatusAndMetricsAreServed) {
  auto server = HttpStatus::start(options_of("127.0.0.1:0"));
  ASSERT_TRUE(server) << server.error();
  const uint16_t port = (*server)->port();
  EXPECT_NE(port, 0);
  EXPECT_EQ((*server)->address(), "127.0.0.1:" + std::to_string(port));
  EXPECT_THAT(get(port, "/health"), HasSubstr("\"status\":\"ok\""));
  EXPECT_THAT(get(port, "/status"), HasSubstr("{\"jobs\":[]}"));
  EXPECT_THAT(get(port, "/metrics"), HasSubstr("# TYPE millrace_epoch gauge\nmillrace_epoch 3\n"));
  EXPECT_THAT(get(port, "/../../etc/passwd"), HasSubstr("404"));
  EXPECT_THAT(fetch(port, "\x01\x02garbage\r\n\r\n"), HasSubstr("400"));
  EXPECT_THAT(get(port, "/" + std::string(5000, 'a')), HasSubstr("404"));
  EXPECT_THAT(get(port, "/" + std::string(10'000, 'a')), HasSubstr("414"));
  EXPECT_THAT(get(port, "/health"), HasSubstr("200 OK"));
}

// Clients that begin a request and do not go on, until the end of the test.
class SlowClients {
 public:
  SlowClients(uint16_t port, int number) {
    for (int i = 0; i < number; ++i) {
      sockets_.push_back(connect_to(port));
      EXPECT_EQ(send(sockets_.back(), "GET /he", 7, MSG_NOSIGNAL), 7);
    }
  }
  ~SlowClients() {
    for (const int fd : sockets_) close(fd);
  }
  // Whether the server has closed every one, by waiting for it.
  [[nodiscard]] bool all_closed() const {
    char byte = 0;
    return std::ranges::all_of(sockets_, [&](int fd) { return recv(fd, &byte, 1, 0) <= 0; });
  }
  // Waits until the server has closed the newest one.
  void wait_for_newest() const {
    char byte = 0;
    EXPECT_LE(recv(sockets_.back(), &byte, 1, 0), 0);
  }
  [[nodiscard]] bool is_open(size_t number) const {
    char byte = 0;
    return recv(sockets_[number], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }

 private:
  std::vector<int> sockets_;
};

TEST(HttpStatusTest, SlowClientsHaveADeadlineAndHoldUpNobodyForLong) {
  auto server = HttpStatus::start(options_of("127.0.0.1:0"));
  ASSERT_TRUE(server);
  const SlowClients slow((*server)->port(), 8);  // two for each thread
  EXPECT_THAT(get((*server)->port(), "/health"), HasSubstr("200 OK"));
  EXPECT_TRUE(slow.all_closed());
}

TEST(HttpStatusTest, TheEndWaitsForNoSlowClient) {
  auto server = HttpStatus::start(options_of("127.0.0.1:0"));
  ASSERT_TRUE(server);
  const SlowClients slow((*server)->port(), 40);  // 30 s, one after the other
  const auto begin = std::chrono::steady_clock::now();
  server->reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  EXPECT_TRUE(slow.all_closed());
}

TEST(HttpStatusTest, ConnectionsBeyondTheQueueAreClosed) {
  auto server = HttpStatus::start(options_of("127.0.0.1:0"));
  ASSERT_TRUE(server);
  const SlowClients slow((*server)->port(), 200);  // 4 are served, for 3 s, and 64 wait
  slow.wait_for_newest();
  EXPECT_TRUE(slow.is_open(60)) << "the newest one was not closed before those that wait";
}

TEST(HttpStatusTest, AProblemTurnsHealthTo503) {
  HttpStatusOptions options = options_of("127.0.0.1:0");
  options.problem = [] { return std::string("no worker"); };
  auto server = HttpStatus::start(options);
  ASSERT_TRUE(server);
  EXPECT_THAT(get((*server)->port(), "/health"), testing::AllOf(HasSubstr("503"), HasSubstr("no worker")));
}

TEST(HttpStatusTest, FurtherPagesGetWhatIsAskedAndAnswerWithTheirCode) {
  HttpStatusOptions options = options_of("127.0.0.1:0");
  options.pages.push_back({"/jobs/([^/]+)/batches",
                           [](const auto& groups, const auto& query) {
                             if (groups.at(0) == "none") return HttpPage::Answer{404, "{\"error\":\"no job\"}"};
                             return HttpPage::Answer{200, groups.at(0) + "?" + query.at("n")};
                           },
                           "/jobs/NAME/batches"});
  auto server = HttpStatus::start(options);
  ASSERT_TRUE(server);
  const uint16_t port = (*server)->port();
  EXPECT_THAT(get(port, "/jobs/w%20c/batches?n=3"), testing::AllOf(HasSubstr("200 OK"), HasSubstr("w c?3")));
  EXPECT_THAT(get(port, "/jobs/none/batches"), testing::AllOf(HasSubstr("404"), HasSubstr("no job")));
  EXPECT_THAT(get(port, "/jobs/a/b/batches"), HasSubstr("there is GET /jobs/NAME/batches, /health, /status"));
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
