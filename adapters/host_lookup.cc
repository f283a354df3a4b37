#include "adapters/host_lookup.h"

#include <thread>
#include <utility>

namespace millrace {

std::shared_ptr<HostLookup> HostLookup::begin(const KafkaEndpoint& endpoint, std::function<void()> done) {
  auto lookup = std::make_shared<HostLookup>();
  if (auto numeric = numeric_address(endpoint.host, endpoint.port)) {
    lookup->set(std::vector<SocketAddress>{std::move(*numeric)});
    return lookup;
  }
  std::thread([lookup, endpoint, done = std::move(done)] {
    lookup->set(look_up(endpoint.host, endpoint.port));
    done();
  }).detach();
  return lookup;
}

std::optional<HostLookup::Addresses> HostLookup::found() const {
  const std::scoped_lock lock(mutex_);
  return addresses_;
}

void HostLookup::set(Addresses addresses) {
  const std::scoped_lock lock(mutex_);
  addresses_ = std::move(addresses);
}

}  // namespace millrace
