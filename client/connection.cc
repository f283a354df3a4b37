#include "client/connection.h"

#include <thrift/TApplicationException.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TMultiplexedProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TSocket.h>

namespace millrace::client {
namespace {

using apache::thrift::TConfiguration;
using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::protocol::TMultiplexedProtocol;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TSocket;
using apache::thrift::transport::TTransportException;

constexpr int kConnectMs = 5'000;
constexpr int kAnswerMs = 90'000;  // longer than the master takes for anything
constexpr int kMaxAnswerBytes = 64 << 20;

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

struct Connection::Transport {
  explicit Transport(const HostPort& master)
      : limits(std::make_shared<TConfiguration>(kMaxAnswerBytes, kMaxAnswerBytes)),
        socket(std::make_shared<TSocket>(master.host, master.port, limits)),
        framed(std::make_shared<TFramedTransport>(socket, limits)),
        binary(std::make_shared<TBinaryProtocol>(framed, kMaxAnswerBytes, 1'000'000, true, true)),
        services{.control = api::ControlClient(named("Control")),
                 .query = api::QueryClient(named("Query")),
                 .ingest = api::IngestClient(named("Ingest"))} {
    socket->setConnTimeout(kConnectMs);
    socket->setRecvTimeout(kAnswerMs);
    socket->setSendTimeout(kAnswerMs);
    socket->setKeepAlive(true);
  }

  std::shared_ptr<TMultiplexedProtocol> named(const std::string& service) {
    return std::make_shared<TMultiplexedProtocol>(binary, service);
  }

  std::shared_ptr<TConfiguration> limits;
  std::shared_ptr<TSocket> socket;
  std::shared_ptr<TFramedTransport> framed;
  std::shared_ptr<TBinaryProtocol> binary;
  Services services;
};

Connection::Connection(HostPort master) : master_(std::move(master)) {
  // Thrift writes its errors to standard error by itself, besides throwing them.
  apache::thrift::GlobalOutput.setOutputFunction([](const char*) {});
}

Connection::~Connection() = default;

Connection::Services& Connection::services() {
  if (!transport_) {
    auto transport = std::make_unique<Transport>(master_);
    transport->framed->open();
    transport_ = std::move(transport);
  }
  return transport_->services;
}

Error Connection::error_of(const std::exception_ptr& exception) {
  const bool connected = transport_ != nullptr;
  try {
    std::rethrow_exception(exception);
  } catch (const api::Failure& failure) {
    return {code_of(failure.kind), failure.message};
  } catch (const TTransportException& broken) {
    transport_.reset();
    if (!connected) {
      return {ErrorCode::kUnavailable, "no master at " + master_.text() + "; start millrace-master or give --api"};
    }
    const bool late = broken.getType() == TTransportException::TIMED_OUT;
    return {ErrorCode::kUnavailable, "the master at " + master_.text() +
                                         (late ? " did not answer; look whether it hangs"
                                               : " closed the connection; look whether it is running") +
                                         ", and at `millrace jobs` before trying again"};
  } catch (const std::exception& other) {
    transport_.reset();
    return {ErrorCode::kInternal, "what answers at " + master_.text() + " is no master of this version (" +
                                      std::string(other.what()) + "); correct --api"};
  }
}

}  // namespace millrace::client
