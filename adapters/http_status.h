// HttpStatus: a small HTTP port for probes, people and Prometheus: GET /health, /status (JSON) and /metrics (text).
//
// Threads of its own call the callbacks, which must be thread-safe and quick (usually they hand out a text that the
// loop renews). A few requests are answered at a time, 64 wait, and further ones are answered 503.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace millrace {

// Another page than those three, in JSON.
struct HttpPage {
  struct Answer {
    int code = 200;
    std::string json;
  };
  std::string path;  // segments in capitals are what is asked, as is the query of a request by name
  std::function<Answer(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& query)>
      answer;
};

struct HttpStatusOptions {
  std::string address;  // HOST:PORT; port 0: any free one
  std::function<std::string()> status_json;
  std::function<std::string()> metrics_text;       // Prometheus' text format
  std::function<std::string()> problem = nullptr;  // for /health: empty when all is well; may be null
  int threads = 4;
  std::vector<HttpPage> pages = {};  // NOLINT(readability-redundant-member-init): may be left out
};

class HttpStatus {
 public:
  // kInvalid: the address is malformed. kUnavailable: the port cannot be listened on.
  static Result<std::unique_ptr<HttpStatus>> start(HttpStatusOptions options);
  // Waits for the callbacks that are under way.
  ~HttpStatus();
  HttpStatus(const HttpStatus&) = delete;
  HttpStatus& operator=(const HttpStatus&) = delete;

  [[nodiscard]] uint16_t port() const;
  [[nodiscard]] std::string address() const;  // HOST:PORT with the real port

 private:
  class Server;
  explicit HttpStatus(std::unique_ptr<Server> server);
  std::unique_ptr<Server> server_;
};

}  // namespace millrace
