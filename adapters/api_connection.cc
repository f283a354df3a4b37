#include "adapters/api_connection.h"

#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TMultiplexedProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TSocket.h>

#include <string>
#include <utility>

#include "common/api/quiet_thrift.h"

namespace millrace {
namespace {

using apache::thrift::TConfiguration;
using apache::thrift::TException;
using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::protocol::TMultiplexedProtocol;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TSocket;

constexpr int kConnectMs = 2'000;
constexpr int kMaxMessageBytes = 16 << 20;

ErrorCode code_of(api::ErrorKind::type kind) {
  switch (kind) {
    case api::ErrorKind::INVALID: return ErrorCode::kInvalid;
    case api::ErrorKind::NOT_FOUND: return ErrorCode::kNotFound;
    case api::ErrorKind::EXISTS: return ErrorCode::kExists;
    case api::ErrorKind::UNAVAILABLE: return ErrorCode::kUnavailable;
    case api::ErrorKind::TIMED_OUT: return ErrorCode::kTimeout;
    case api::ErrorKind::INTERNAL: return ErrorCode::kInternal;
  }
  return ErrorCode::kInternal;
}

}  // namespace

struct ApiConnection::Transport {
  explicit Transport(const HostPort& master)
      : limits(std::make_shared<TConfiguration>(kMaxMessageBytes, kMaxMessageBytes)),
        socket(std::make_shared<TSocket>(master.host, master.port, limits)),
        framed(std::make_shared<TFramedTransport>(socket, limits)),
        binary(std::make_shared<TBinaryProtocol>(framed)),
        services{.control = api::ControlClient(named("Control")),
                 .query = api::QueryClient(named("Query")),
                 .ingest = api::IngestClient(named("Ingest"))} {
    socket->setConnTimeout(kConnectMs);
    socket->setKeepAlive(true);
  }
  std::shared_ptr<TMultiplexedProtocol> named(const std::string& service) {
    return std::make_shared<TMultiplexedProtocol>(binary, service);
  }

  const std::shared_ptr<TConfiguration> limits;
  const std::shared_ptr<TSocket> socket;
  const std::shared_ptr<TFramedTransport> framed;
  const std::shared_ptr<TBinaryProtocol> binary;
  Services services;
};

ApiConnection::ApiConnection(HostPort master) : master_(std::move(master)) {
  quiet_thrift();
}
ApiConnection::~ApiConnection() = default;

ApiConnection::Services& ApiConnection::services(Duration limit) {
  if (transport_ == nullptr) {
    auto transport = std::make_unique<Transport>(master_);
    transport->framed->open();
    transport_ = std::move(transport);
  }
  const auto limit_ms = static_cast<int>(to_ms(limit));
  transport_->socket->setRecvTimeout(limit_ms);
  transport_->socket->setSendTimeout(limit_ms);
  return transport_->services;
}

Error ApiConnection::error_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const api::Failure& failure) {
    return {code_of(failure.kind), failure.message};
  } catch (const TException& broken) {
    transport_.reset();
    return {ErrorCode::kUnavailable,
            "the master at " + master_.text() + " does not answer (" + broken.what() + "); start it"};
  }
}

}  // namespace millrace
