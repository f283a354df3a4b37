// Addresses of hosts. HostLookups: those of names, looked up on threads of their own, since that may take seconds and
// cannot be called off.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/model/address.h"

namespace millrace {

struct SocketAddress {
  sockaddr_storage address{};
  socklen_t size = 0;
  std::string text;  // HOST:PORT

  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

// nullopt: the host is a name, which has to be looked up, and that may take a while.
std::optional<SocketAddress> numeric_address(const HostPort& server);

// All addresses of a name, at least one, in the order in which they are to be tried. Waits, maybe for seconds.
// kUnavailable: nobody knows the name, or can be asked now.
Result<std::vector<SocketAddress>> look_up(const HostPort& server);

// Who connects to a port of this machine where nobody listens may be given that port himself.
bool is_connected_to_itself(int socket);

// Thread-safe.
class HostLookup {
 public:
  using Addresses = Result<std::vector<SocketAddress>>;

  // nullopt: not yet.
  [[nodiscard]] std::optional<Addresses> found() const;

 private:
  friend class HostLookups;
  void set(Addresses addresses);

  mutable std::mutex mutex_;
  std::optional<Addresses> addresses_;  // guarded by mutex_
};

// Belongs to one thread.
class HostLookups {
 public:
  // `done` is called when one is found that was not there at once, by any thread; that may be after this is gone.
  explicit HostLookups(std::function<void()> done) : done_(std::move(done)) {}

  // What look_up() gives. Of one host and port there is at most one at a time.
  std::shared_ptr<const HostLookup> begin(const HostPort& server);

 private:
  const std::function<void()> done_;
  std::map<std::string, std::weak_ptr<const HostLookup>> running_;
};

}  // namespace millrace
