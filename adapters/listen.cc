#include "adapters/listen.h"

#include <sys/resource.h>

#include <algorithm>

#include "common/model/address.h"

namespace millrace {

Status listen_on(boost::asio::ip::tcp::acceptor& acceptor, const std::string& flag, const std::string& address) {
  using boost::asio::ip::tcp;
  const auto host = parse_address(flag, address);
  if (!host) return std::unexpected(host.error());
  boost::system::error_code error;
  tcp::resolver resolver(acceptor.get_executor());
  const auto found = resolver.resolve(host->host, std::to_string(host->port),
                                      tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) {
    return fail(ErrorCode::kInvalid, flag + " " + address + ": the host cannot be resolved (" + error.message() +
                                         "); give an address of this machine");
  }
  const tcp::endpoint endpoint = *found.begin();
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) {
    return fail(ErrorCode::kUnavailable, flag + " " + address + ": cannot listen (" + error.message() +
                                             "); end the process that holds the port, or choose another");
  }
  return {};
}

size_t bounded_connections(size_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return wanted;
  return std::clamp<size_t>(limit.rlim_cur / 2, 1, wanted);
}

}  // namespace millrace
