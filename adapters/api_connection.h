// ApiConnection: a connection to a master's public services. Connects when it is first needed, and anew after the
// connection broke. Blocks; used by one thread.
#pragma once

#include <exception>
#include <memory>
#include <utility>

#include "common/api/api_transport.h"
#include "common/base/error.h"
#include "common/base/time.h"
#include "common/model/address.h"

namespace millrace {

class ApiConnection {
 public:
  explicit ApiConnection(HostPort master) : master_(std::move(master)) {}
  ApiConnection(const ApiConnection&) = delete;
  ApiConnection& operator=(const ApiConnection&) = delete;

  // `use(services, answer)` makes one call, which is waited for up to `limit`. The master's own failure with its kind,
  // or kUnavailable: it cannot be reached, or the connection broke and the outcome is unknown.
  template <typename Answer, typename Use>
  Result<Answer> call(Duration limit, Use use) {
    sent_ = false;
    was_open_ = transport_ != nullptr;
    try {
      ApiServices& open = services(limit);
      sent_ = true;
      Answer answer{};
      use(open, answer);
      return answer;
    } catch (...) {
      return std::unexpected(error_of(std::current_exception()));
    }
  }

  // Whether the last call reached a master, as far as is known.
  [[nodiscard]] bool sent() const { return sent_; }
  // The last call met the end of a connection that was there before, as after a restart of the master.
  [[nodiscard]] bool was_stale() const { return was_open_ && transport_ == nullptr; }

 private:
  ApiServices& services(Duration limit);  // throws what Thrift throws
  Error error_of(const std::exception_ptr& exception);

  const HostPort master_;
  std::unique_ptr<ApiTransport> transport_;  // null: not connected
  bool sent_ = false;
  bool was_open_ = false;
};

}  // namespace millrace
