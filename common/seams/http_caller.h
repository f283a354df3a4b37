// HttpCaller: HTTP as whoever asks sees it, and time between the questions: what was asked for is done on the thread
// that is in run(), one thing at a time. The one of the outside world is adapters/asio_http_caller.h.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "common/base/error.h"
#include "common/base/time.h"
#include "common/model/address.h"
#include "common/seams/http.h"

namespace millrace {

struct HttpCall {
  HostPort server;
  // The connection, by number: kept from call to call, and one call is under way on it at a time. One that goes to
  // another server than the last call is made anew.
  size_t line = 0;
  std::string method = "GET";
  std::string target;  // path and query, encoded
  std::string body;
  HttpHeaders headers;  // besides Host and Content-Length
  Duration limit = {};  // until the whole answer is there
};

class HttpCaller {
 public:
  using Task = std::move_only_function<void()>;
  // Any status is an answer. kUnavailable: there is no connection, so nothing was sent. kTimeout: the answer is lost,
  // and whether the request has had an effect is unknown.
  using Answered = std::move_only_function<void(Result<HttpResponse> answer)>;

  virtual ~HttpCaller() = default;
  virtual void call(HttpCall call, Answered answered) = 0;
  // Not before `delay` has passed.
  virtual void schedule(Duration delay, Task task) = 0;
  // Returns when nothing is under way or scheduled any more. May be called again.
  virtual void run() = 0;
  // From within run(), which then returns at once: nothing of what was under way is heard of any more.
  virtual void stop() = 0;
};

}  // namespace millrace
