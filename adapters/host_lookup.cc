#include "adapters/host_lookup.h"

#include <system_error>
#include <thread>

namespace millrace {

std::optional<HostLookup::Addresses> HostLookup::found() const {
  const std::scoped_lock lock(mutex_);
  return addresses_;
}

void HostLookup::set(Addresses addresses) {
  const std::scoped_lock lock(mutex_);
  addresses_ = std::move(addresses);
}

std::shared_ptr<const HostLookup> HostLookups::begin(const KafkaEndpoint& endpoint) {
  std::weak_ptr<const HostLookup>& running = running_[endpoint.text()];
  if (auto other = running.lock(); other != nullptr && !other->found()) return other;
  auto lookup = std::make_shared<HostLookup>();
  running = lookup;
  if (auto numeric = numeric_address(endpoint.host, endpoint.port)) {
    lookup->set(std::vector<SocketAddress>{std::move(*numeric)});
    return lookup;
  }
  try {
    std::thread([lookup, endpoint, done = done_] {
      lookup->set(look_up(endpoint.host, endpoint.port));
      done();
    }).detach();
  } catch (const std::system_error& error) {
    lookup->set(fail(ErrorCode::kUnavailable, "no thread to look '" + endpoint.host + "' up: " + error.what()));
  }
  return lookup;
}

}  // namespace millrace
