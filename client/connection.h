// Connection: a connection to the master's public services, made when it is first needed and made anew after it
// broke. One thread uses it.
//
// A call's failure is an Error: the master's own (api::Failure) with its kind, or kUnavailable where the master
// cannot be reached, or the connection broke and the outcome is unknown. Nothing is repeated here.
#pragma once

#include <exception>
#include <memory>
#include <string>

#include "Control.h"
#include "Ingest.h"
#include "Query.h"
#include "common/base/error.h"
#include "common/model/address.h"

namespace millrace::client {

class Connection {
 public:
  struct Services {
    api::ControlClient control;
    api::QueryClient query;
    api::IngestClient ingest;
  };

  explicit Connection(HostPort master);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // False: the master could not be reached, or the connection broke in the last call.
  [[nodiscard]] bool connected() const { return transport_ != nullptr; }

  // `use(services, answer)` makes one call; the answer as it left it.
  template <typename Answer, typename Use>
  Result<Answer> call(Use use) {
    Answer answer{};
    try {
      use(services(), answer);
    } catch (...) {
      return std::unexpected(error_of(std::current_exception()));
    }
    return answer;
  }

 private:
  struct Transport;

  Services& services();  // throws what Thrift throws
  Error error_of(const std::exception_ptr& exception);

  const HostPort master_;
  std::unique_ptr<Transport> transport_;  // null: not connected
};

}  // namespace millrace::client
