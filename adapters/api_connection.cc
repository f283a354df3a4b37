#include "adapters/api_connection.h"

#include <string>
#include <utility>

namespace millrace {
namespace {

constexpr int kConnectMs = 2'000;
constexpr int kMaxMessageBytes = 16 << 20;

}  // namespace

ApiServices& ApiConnection::services(Duration limit) {
  if (transport_ == nullptr) {
    auto transport = std::make_unique<ApiTransport>(master_, kConnectMs, kMaxMessageBytes);
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
  } catch (const apache::thrift::TException& broken) {
    transport_.reset();
    return {ErrorCode::kUnavailable,
            "the master at " + master_.text() + " does not answer (" + broken.what() + "); start it"};
  }
}

}  // namespace millrace
