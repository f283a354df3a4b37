// HostLookups: the addresses of hosts' names, looked up on threads of their own: that may take seconds, and cannot be
// called off. Belongs to one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapters/kafka_connection.h"
#include "adapters/kafka_reader_settings.h"
#include "common/base/error.h"

namespace millrace {

class HostLookup {
 public:
  using Addresses = Result<std::vector<SocketAddress>>;

  // nullopt: not yet. kUnavailable: nobody knows the name now.
  [[nodiscard]] std::optional<Addresses> found() const;

 private:
  friend class HostLookups;
  void set(Addresses addresses);

  mutable std::mutex mutex_;
  std::optional<Addresses> addresses_;  // guarded by mutex_
};

class HostLookups {
 public:
  // `done` is called when one is found, by any thread; that may be after this is gone.
  explicit HostLookups(std::function<void()> done) : done_(std::move(done)) {}

  // Of one endpoint there is at most one at a time.
  std::shared_ptr<const HostLookup> begin(const KafkaEndpoint& endpoint);

 private:
  const std::function<void()> done_;
  std::map<std::string, std::weak_ptr<const HostLookup>> running_;
};

}  // namespace millrace
