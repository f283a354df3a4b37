// ServerStream: the bytes of a connection that a server has accepted, as they are or by TLS; a stream for Asio's and
// Beast's operations. And the certificate that TLS shows.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/base/error.h"

namespace millrace {

struct TlsFiles {
  std::string certificate;  // PEM: the server's, then those that lead to its authority
  std::string key;          // PEM, without a password
};

using TlsContext = std::shared_ptr<boost::asio::ssl::context>;

// TLS 1.2 and later. kInvalid: a file cannot be read or is none, or they do not belong together.
Result<TlsContext> make_tls_context(const TlsFiles& files);

class ServerStream {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using executor_type = Socket::executor_type;

  // tls: null: none.
  ServerStream(Socket socket, TlsContext tls) : socket_(std::move(socket)), context_(std::move(tls)) {
    if (context_ != nullptr) tls_.emplace(socket_, *context_);
  }
  ServerStream(const ServerStream&) = delete;
  ServerStream& operator=(const ServerStream&) = delete;

  [[nodiscard]] bool is_tls() const { return tls_.has_value(); }
  // Below TLS.
  [[nodiscard]] Socket& socket() { return socket_; }
  executor_type get_executor() { return socket_.get_executor(); }

  template <typename Buffers, typename Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) return tls_->async_read_some(buffers, std::forward<Handler>(handler));
    socket_.async_read_some(buffers, std::forward<Handler>(handler));
  }
  template <typename Buffers, typename Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) return tls_->async_write_some(buffers, std::forward<Handler>(handler));
    socket_.async_write_some(buffers, std::forward<Handler>(handler));
  }
  // Of TLS, and first; handler(error).
  template <typename Handler>
  void async_handshake(Handler&& handler) {
    tls_->async_handshake(boost::asio::ssl::stream_base::server, std::forward<Handler>(handler));
  }
  // Of TLS, and last: says that nothing more comes, and waits for the same; handler(error).
  template <typename Handler>
  void async_shutdown(Handler&& handler) {
    tls_->async_shutdown(std::forward<Handler>(handler));
  }

 private:
  Socket socket_;
  TlsContext context_;
  std::optional<boost::asio::ssl::stream<Socket&>> tls_;
};

}  // namespace millrace
