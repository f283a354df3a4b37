// HttpServer: HTTP/1.1 for thousands of connections, on one thread of its own.
//
// A client holds little and not for long: a request's head and body have a size, a time to arrive in and, all bodies
// together, a bound of memory; connections have a number, and for a new one beyond it the one that has been idle
// longest makes way, or else the one whose request has been arriving longest, or else the one whose answer has been
// leaving longest, if that is slow. Whatever exceeds that is answered by a problem document (RFC 9457) that says what
// and where, and disturbs nobody else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "adapters/server_stream.h"
#include "common/base/error.h"
#include "common/base/time.h"
#include "common/seams/http.h"

namespace millrace {

struct HttpServerOptions {
  std::string address;              // HOST:PORT; port 0: any free one
  std::string flag = "--http";      // named in errors
  size_t max_connections = 10'000;  // at most half of the process' descriptors are used
  size_t max_head_bytes = 16u << 10;
  size_t max_body_bytes = 1u << 20;
  size_t max_bodies_bytes = 64u << 20;  // of all requests together, until they are answered
  Duration idle_timeout = std::chrono::minutes(1);
  Duration request_timeout = std::chrono::seconds(10);   // for one to arrive, from its first byte
  Duration response_timeout = std::chrono::seconds(30);  // for one to leave, or for each part of one that goes on
  size_t max_stream_bytes = 1u << 20;                    // that may wait for the reader of one that goes on
  std::optional<TlsFiles> tls = {};                      // NOLINT(readability-redundant-member-init): none: no TLS
  HttpHeaders headers = {};                              // NOLINT(readability-redundant-member-init): of every answer
  // Told of each request that does not come as it should, and that the server therefore answers itself; on its thread.
  std::function<void(int status)> refused = nullptr;
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

  // With TLS: new connections see the certificate that the files hold now. kInvalid: as of start(), and nothing
  // changes.
  Status read_certificate_again();

  // No more connections and requests: what is under way is answered, for which it waits, but not longer than `most`.
  // False: something has not been answered by then.
  bool drain(Duration most);

  [[nodiscard]] std::string address() const;  // HOST:PORT with the real port
  [[nodiscard]] uint16_t port() const;

 private:
  class Server;
  explicit HttpServer(std::unique_ptr<Server> server);
  std::unique_ptr<Server> server_;
};

}  // namespace millrace
