#include "adapters/listen.h"

#include <glog/logging.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "common/model/address.h"

namespace millrace {

Status Listener::listen(const std::string& flag, const std::string& address) {
  using boost::asio::ip::tcp;
  const auto host = parse_address(flag, address);
  if (!host) return std::unexpected(host.error());
  boost::system::error_code error;
  tcp::resolver resolver(acceptor_.get_executor());
  const auto found = resolver.resolve(host->host, std::to_string(host->port),
                                      tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) {
    return fail(ErrorCode::kInvalid, flag + " " + address + ": the host cannot be resolved (" + error.message() +
                                         "); give an address of this machine");
  }
  const tcp::endpoint endpoint = *found.begin();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) {
    return fail(ErrorCode::kUnavailable, flag + " " + address + ": cannot listen (" + error.message() +
                                             "); end the process that holds the port, or choose another");
  }
  place_ = flag + " " + address;
  return {};
}

void Listener::accept() {
  using boost::asio::ip::tcp;
  acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
    if (closed_) return;
    if (!error) {
      boost::system::error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      socket.set_option(boost::asio::socket_base::keep_alive(true), ignored);
      admit_(std::move(socket));
      accept();
      return;
    }
    // Most likely no descriptor is left: go on when some may have been closed.
    LOG_EVERY_N(WARNING, 100) << place_ << ": cannot accept: " << error.message();
    accept_again_.expires_after(std::chrono::milliseconds(100));
    accept_again_.async_wait([this](boost::system::error_code cancelled) {
      if (!cancelled && !closed_) accept();
    });
  });
}

void Listener::close() {
  closed_ = true;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  accept_again_.cancel();
}

size_t bounded_connections(size_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return wanted;
  return std::clamp<size_t>(limit.rlim_cur / 2, 1, wanted);
}

}  // namespace millrace
