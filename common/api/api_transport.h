// A connection to a master's public services, as Thrift has it, and what its failures are here.
#pragma once

#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TMultiplexedProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TSocket.h>

#include <memory>
#include <string>

#include "Control.h"
#include "Ingest.h"
#include "Query.h"
#include "common/base/error.h"
#include "common/model/address.h"

namespace millrace {

struct ApiServices {
  api::ControlClient control;
  api::QueryClient query;
  api::IngestClient ingest;
};

// Thrift's clients write their errors to standard error by themselves, besides throwing them. Once for the process,
// since the function that is set is not for several threads.
inline void quiet_thrift() {
  [[maybe_unused]] static const bool kQuiet = [] {
    apache::thrift::GlobalOutput.setOutputFunction([](const char*) {});
    return true;
  }();
}

// Not connected yet: framed->open() does that.
struct ApiTransport {
  ApiTransport(const HostPort& master, int connect_ms, int most_answer_bytes)
      : limits(std::make_shared<apache::thrift::TConfiguration>(most_answer_bytes, most_answer_bytes)),
        socket(std::make_shared<apache::thrift::transport::TSocket>(master.host, master.port, limits)),
        framed(std::make_shared<apache::thrift::transport::TFramedTransport>(socket, limits)),
        binary(std::make_shared<apache::thrift::protocol::TBinaryProtocol>(framed, most_answer_bytes, kMostElements,
                                                                           true, true)),
        services{.control = api::ControlClient(named("Control")),
                 .query = api::QueryClient(named("Query")),
                 .ingest = api::IngestClient(named("Ingest"))} {
    quiet_thrift();
    socket->setConnTimeout(connect_ms);
    socket->setKeepAlive(true);
  }

  static constexpr int kMostElements = 1'000'000;  // of one list or map of an answer

  const std::shared_ptr<apache::thrift::TConfiguration> limits;
  const std::shared_ptr<apache::thrift::transport::TSocket> socket;
  const std::shared_ptr<apache::thrift::transport::TFramedTransport> framed;
  const std::shared_ptr<apache::thrift::protocol::TBinaryProtocol> binary;
  ApiServices services;

 private:
  std::shared_ptr<apache::thrift::protocol::TMultiplexedProtocol> named(const std::string& service) {
    return std::make_shared<apache::thrift::protocol::TMultiplexedProtocol>(binary, service);
  }
};

inline ErrorCode code_of(api::ErrorKind::type kind) {
  switch (kind) {
    case api::ErrorKind::INVALID: return ErrorCode::kInvalid;
    case api::ErrorKind::NOT_FOUND: return ErrorCode::kNotFound;
    case api::ErrorKind::EXISTS: return ErrorCode::kExists;
    case api::ErrorKind::UNAVAILABLE: return ErrorCode::kUnavailable;
    case api::ErrorKind::TIMED_OUT: return ErrorCode::kTimeout;
    case api::ErrorKind::INTERNAL: return ErrorCode::kInternal;
    case api::ErrorKind::GONE: return ErrorCode::kDataLost;
  }
  return ErrorCode::kInternal;
}

}  // namespace millrace
