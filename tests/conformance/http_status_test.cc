#include "adapters/http_status.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace millrace {
namespace {

using testing::HasSubstr;

std::string fetch(uint16_t port, const std::string& request) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return "no connection";
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
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
  EXPECT_THAT(get(port, "/" + std::string(5000, 'a')), testing::Not(HasSubstr("200 OK")));
  EXPECT_THAT(get(port, "/health"), HasSubstr("200 OK"));
}

TEST(HttpStatusTest, AProblemTurnsHealthTo503) {
  HttpStatusOptions options = options_of("127.0.0.1:0");
  options.problem = [] { return std::string("no worker"); };
  auto server = HttpStatus::start(options);
  ASSERT_TRUE(server);
  EXPECT_THAT(get((*server)->port(), "/health"), testing::AllOf(HasSubstr("503"), HasSubstr("no worker")));
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
