// listen_on: a TCP port for the servers of this folder.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <string>

#include "common/base/error.h"

namespace millrace {

// Opens `acceptor` at HOST:PORT (port 0: any free one), which `flag` gave. kInvalid: the address is malformed or its
// host cannot be resolved. kUnavailable: the port cannot be listened on.
Status listen_on(boost::asio::ip::tcp::acceptor& acceptor, const std::string& flag, const std::string& address);

// As many as are wanted, but at most half of the process' descriptors, and at least one.
size_t bounded_connections(size_t wanted);

}  // namespace millrace
