#include "adapters/host_lookup.h"

#include <netdb.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>

namespace millrace {
namespace {

Result<std::vector<SocketAddress>> ask(const HostPort& server, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failure = ::getaddrinfo(server.host.c_str(), std::to_string(server.port).c_str(), &hints, &found);
  if (failure != 0) {
    return fail(ErrorCode::kUnavailable, "the address of host '" + server.host + "' cannot be found: " +
                                             (failure == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(failure)));
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.address, each->ai_addr, each->ai_addrlen);
    address.size = each->ai_addrlen;
    address.text = server.text();
  }
  ::freeaddrinfo(found);
  return addresses;
}

}  // namespace

std::optional<SocketAddress> numeric_address(const HostPort& server) {
  const auto found = ask(server, AI_NUMERICHOST);
  return found ? std::optional(found->front()) : std::nullopt;
}

Result<std::vector<SocketAddress>> look_up(const HostPort& server) {
  return ask(server, 0);
}

bool is_connected_to_itself(int socket) {
  sockaddr_storage own{};
  sockaddr_storage peer{};
  socklen_t own_size = sizeof own;
  socklen_t peer_size = sizeof peer;
  return ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_size) == 0 &&
         ::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0 && own_size == peer_size &&
         std::memcmp(&own, &peer, own_size) == 0;
}

std::optional<HostLookup::Addresses> HostLookup::found() const {
  const std::scoped_lock lock(mutex_);
  return addresses_;
}

void HostLookup::set(Addresses addresses) {
  const std::scoped_lock lock(mutex_);
  addresses_ = std::move(addresses);
}

std::shared_ptr<const HostLookup> HostLookups::begin(const HostPort& server) {
  std::weak_ptr<const HostLookup>& running = running_[server.text()];
  if (auto other = running.lock(); other != nullptr && !other->found()) return other;
  auto lookup = std::make_shared<HostLookup>();
  running = lookup;
  if (auto numeric = numeric_address(server)) {
    lookup->set(std::vector<SocketAddress>{std::move(*numeric)});
    return lookup;
  }
  try {
    std::thread([lookup, server, done = done_] {
      lookup->set(look_up(server));
      done();
    }).detach();
  } catch (const std::system_error& error) {
    lookup->set(fail(ErrorCode::kUnavailable, "no thread to look '" + server.host + "' up: " + error.what()));
  }
  return lookup;
}

}  // namespace millrace
