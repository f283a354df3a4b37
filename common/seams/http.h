// HTTP as whoever answers requests sees it. The server is adapters/http_server.h, the way from a path to a function
// common/seams/http_routes.h.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.h"

namespace millrace {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;                        // GET
  std::string target;                        // as it came, for messages
  std::vector<std::string> path;             // its segments, decoded: /jobs/a%2Fb is jobs, a/b
  std::map<std::string, std::string> query;  // decoded; of a name that comes twice the last value
  HttpHeaders headers;                       // in their order
  std::string body;
  std::string peer;  // the address it comes from, without the port: a client's or a proxy's

  // Empty: there is none. The name in any case; of one that comes twice the first value.
  [[nodiscard]] std::string_view header(std::string_view name) const;
  // Of the query; empty: there is none.
  [[nodiscard]] std::string parameter(const std::string& name) const;
};

// The rest of an answer that goes on, as it comes. Thread-safe.
class HttpStream {
 public:
  using Part = std::shared_ptr<const std::string>;  // shared by all whom it is sent to

  virtual ~HttpStream() = default;
  // False: nobody reads it any more, or somebody so slowly that too much waits; it has ended then.
  virtual bool send(Part part) = 0;
  // What was sent still goes.
  virtual void end() = 0;
  // It ends before its end, and whoever reads it sees that.
  virtual void give_up() = 0;
  // Calls `next` once, when all that was sent is with the connection, or nobody reads it any more; on any thread, maybe
  // at once. For one who has more to send than may wait.
  virtual void when_taken(std::move_only_function<void()> next) = 0;
};

struct HttpResponse {
  int status = 200;
  std::string type = "application/json";  // Content-Type
  std::string body;
  HttpHeaders headers;
  // Of an answer that goes on behind `body`: called once, on the server's thread, with where it goes.
  std::function<void(std::shared_ptr<HttpStream>)> stream;
  // Of such an answer: whoever reads it can tell its end from one that broke off (it comes in chunks, to HTTP/1.1).
  bool marks_end = false;
};

// A problem document (RFC 9457): `detail` says what is wrong and where, and what to do about it.
HttpResponse http_problem(int status, std::string_view detail);
// Which status an error has for whoever asked: 400, 404, 409, 410, 503, 504 or 500.
int http_status_of(ErrorCode code);

// Two names of headers, types or the like, which are the same in any case.
bool same_http_name(std::string_view one, std::string_view other);

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

}  // namespace millrace
