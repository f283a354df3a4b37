// Listener: a TCP port and the connections that come to it, for the servers of this folder.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "common/base/error.h"

namespace millrace {

// From accept() on it belongs to the thread that runs `io`.
class Listener {
 public:
  using Admit = std::function<void(boost::asio::ip::tcp::socket socket)>;

  // `admit` gets each connection; one that it lets go is closed.
  Listener(boost::asio::io_context& io, Admit admit) : acceptor_(io), accept_again_(io), admit_(std::move(admit)) {}

  // Opens HOST:PORT (port 0: any free one), which `flag` gave. kInvalid: the address is malformed or its host cannot be
  // resolved. kUnavailable: the port cannot be listened on.
  Status listen(const std::string& flag, const std::string& address);
  // Connections are taken from now on, until close().
  void accept();
  void close();

  [[nodiscard]] uint16_t port() const { return acceptor_.local_endpoint().port(); }  // after listen()

 private:
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer accept_again_;
  const Admit admit_;
  std::string place_;  // for messages
  bool closed_ = false;
};

// As many as are wanted, but at most half of the process' descriptors, and at least one.
size_t bounded_connections(size_t wanted);

}  // namespace millrace
