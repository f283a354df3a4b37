// HttpServer: HTTP/1.1 for thousands of connections, on one thread of its own.
//
// A client holds little and not for long: a request's head and body have a size, a time to arrive in and, all bodies
// together, a bound of memory; connections have a number, and for a new one beyond it the one that has been idle
// longest makes way. Whatever exceeds that is answered by a problem document (RFC 9457) that says what and where, and
// disturbs nobody else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/time.h"

namespace millrace {

struct HttpRequest {
  std::string method;                                        // GET
  std::string target;                                        // as it came, for messages
  std::vector<std::string> path;                             // its segments, decoded: /jobs/a%2Fb is jobs, a/b
  std::map<std::string, std::string> query;                  // decoded; of a name that comes twice the last value
  std::vector<std::pair<std::string, std::string>> headers;  // in their order
  std::string body;

  // Empty: there is none. The name in any case; of one that comes twice the first value.
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string type = "application/json";  // Content-Type
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// A problem document: `detail` says what is wrong and where, and what to do about it.
HttpResponse http_problem(int status, std::string_view detail);
// Which status an error has for whoever asked: 400, 404, 409, 503, 504 or 500.
int http_status_of(ErrorCode code);

// Answers one request, once, on any thread, also after the server or the connection has gone. One that is destroyed
// unused answers 500.
class HttpReply {
 public:
  using Send = std::move_only_function<void(HttpResponse)>;

  explicit HttpReply(Send send) : send_(std::move(send)) {}
  ~HttpReply();
  HttpReply(HttpReply&& other) noexcept : send_(std::exchange(other.send_, nullptr)) {}
  HttpReply& operator=(HttpReply&&) = delete;

  void operator()(HttpResponse response);

 private:
  Send send_;  // null: it was used
};

struct HttpServerOptions {
  std::string address;              // HOST:PORT; port 0: any free one
  std::string flag = "--http";      // named in errors
  size_t max_connections = 10'000;  // at most half of the process' descriptors are used
  size_t max_head_bytes = 16u << 10;
  size_t max_body_bytes = 1u << 20;
  size_t max_bodies_bytes = 64u << 20;  // of all requests together, until they are answered
  Duration idle_timeout = std::chrono::minutes(1);
  Duration request_timeout = std::chrono::seconds(10);   // for one to arrive, from its first byte
  Duration response_timeout = std::chrono::seconds(30);  // for one to leave
};

class HttpServer {
 public:
  // On the server's thread: must be quick and must not throw. Requests of one connection come one after the other.
  using Handler = std::function<void(HttpRequest request, HttpReply reply)>;

  // kInvalid: the address is not HOST:PORT or cannot be resolved. kUnavailable: it cannot be listened on.
  static Result<std::unique_ptr<HttpServer>> start(HttpServerOptions options, Handler handler);

  // Closes all connections; what has not been answered will not be.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] std::string address() const;  // HOST:PORT with the real port
  [[nodiscard]] uint16_t port() const;

 private:
  class Server;
  explicit HttpServer(std::unique_ptr<Server> server);
  std::unique_ptr<Server> server_;
};

}  // namespace millrace
