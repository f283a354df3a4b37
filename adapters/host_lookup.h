// HostLookup: the addresses of a host's name, looked up on a thread of its own: that may take seconds, and cannot be
// called off.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "adapters/kafka_connection.h"
#include "adapters/kafka_reader_settings.h"
#include "common/base/error.h"

namespace millrace {

class HostLookup {
 public:
  using Addresses = Result<std::vector<SocketAddress>>;

  // `done` is called by any thread, once; whoever asks may be gone by then.
  static std::shared_ptr<HostLookup> begin(const KafkaEndpoint& endpoint, std::function<void()> done);

  // nullopt: not yet. kUnavailable: nobody knows the name now.
  [[nodiscard]] std::optional<Addresses> found() const;

 private:
  void set(Addresses addresses);

  mutable std::mutex mutex_;
  std::optional<Addresses> addresses_;  // guarded by mutex_
};

}  // namespace millrace
