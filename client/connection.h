// Connection: a connection to the master's public services, made when it is first needed and made anew after it
// broke. One thread uses it.
//
// A call's failure is an Error: the master's own (api::Failure) with its kind, or kUnavailable where the master
// cannot be reached, or the connection broke and the outcome is unknown. Until the master has answered for the first
// time one that does not listen yet, or has only just started, is waited for (Session::wait); after that nothing is
// repeated here.
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <string>

#include "client/session.h"
#include "common/api/api_transport.h"
#include "common/base/error.h"
#include "common/model/address.h"

namespace millrace::client {

class Connection {
 public:
  // `session` outlives it.
  explicit Connection(const Session& session) : session_(session), master_(session.master) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // False: the master could not be reached, or the connection broke in the last call.
  [[nodiscard]] bool connected() const { return transport_ != nullptr; }

  // `use(services, answer)` makes one call; the answer as it left it.
  template <typename Answer, typename Use>
  Result<Answer> call(Use use) {
    while (true) {
      Answer answer{};
      try {
        use(services(), answer);
      } catch (...) {
        Error error = error_of(std::current_exception());
        if (is_starting(error) && wait_once_more("the master at " + master_.text() + " is starting")) continue;
        answered_ = true;
        return std::unexpected(std::move(error));
      }
      answered_ = true;
      return answer;
    }
  }

 private:
  ApiServices& services();  // throws what Thrift throws
  void connect();
  void greet();
  // False: it has been waited for long enough, or is not waited for any more.
  bool wait_once_more(const std::string& what);
  static bool is_starting(const Error& error);
  Error error_of(const std::exception_ptr& exception);

  // Constant after construction.
  const Session& session_;
  const HostPort master_;

  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  bool answered_ = false;                    // by a master: from then on it is not waited for
  bool greeted_ = false;                     // it is a master that answers this connection
  bool told_ = false;                        // that it is waited for
  std::unique_ptr<ApiTransport> transport_;  // null: not connected
};

}  // namespace millrace::client
