#include "client/connection.h"

#include <thrift/TApplicationException.h>

#include <thread>

#include "common/model/master_starting.h"

namespace millrace::client {
namespace {

using apache::thrift::transport::TTransportException;

constexpr int kConnectMs = 5'000;
constexpr int kAnswerMs = 90'000;  // longer than the master takes for anything
constexpr int kMaxAnswerBytes = 64 << 20;
constexpr auto kTryAgainAfter = std::chrono::milliseconds(100);
constexpr auto kTellAfter = std::chrono::seconds(1);

}  // namespace

ApiServices& Connection::services() {
  if (!transport_) connect();
  return transport_->services;
}

void Connection::connect() {
  while (true) {
    auto transport = std::make_unique<ApiTransport>(master_, kConnectMs, kMaxAnswerBytes);
    transport->socket->setRecvTimeout(kAnswerMs);
    transport->socket->setSendTimeout(kAnswerMs);
    try {
      transport->framed->open();
    } catch (const TTransportException& refused) {
      // A name that does not resolve is a mistake, not a master that is on its way.
      const bool unknown_host = std::string(refused.what()).find("resolve") != std::string::npos;
      if (!unknown_host && wait_once_more("no master at " + master_.text() + " yet")) continue;
      throw;
    }
    transport_ = std::move(transport);
    greeted_ = false;
    return greet();
  }
}

// What is no master may take a request and stay silent; a master refuses a name that is none at once, without asking
// its jobs.
void Connection::greet() {
  transport_->socket->setRecvTimeout(static_cast<int>(session_.greeting_limit.count()));
  try {
    api::JobDescription none;
    transport_->services.control.describe(none, "");
  } catch (const api::Failure&) {
    greeted_ = true;
  }
  transport_->socket->setRecvTimeout(kAnswerMs);
}

bool Connection::wait_once_more(const std::string& what) {
  const auto waited = std::chrono::steady_clock::now() - begin_;
  if (answered_ || waited + kTryAgainAfter > session_.wait) return false;
  if (!told_ && waited >= kTellAfter) {
    told_ = true;
    const auto most = std::chrono::duration_cast<std::chrono::seconds>(session_.wait);
    session_.err << "millrace: " << what << "; waiting up to " << most.count() << " s\n" << std::flush;
  }
  std::this_thread::sleep_for(kTryAgainAfter);
  return true;
}

bool Connection::is_starting(const Error& error) {
  return error.code == ErrorCode::kUnavailable && error.message == kMasterIsStarting;
}

Error Connection::error_of(const std::exception_ptr& exception) {
  const bool connected = transport_ != nullptr;
  try {
    std::rethrow_exception(exception);
  } catch (const api::Failure& failure) {
    return {code_of(failure.kind), failure.message};
  } catch (const TTransportException& broken) {
    transport_.reset();
    if (!connected && std::string(broken.what()).find("resolve") != std::string::npos) {
      return {ErrorCode::kUnavailable, "the host '" + master_.host + "' is not known; correct --api"};
    }
    if (!connected) {
      return {ErrorCode::kUnavailable, "no master at " + master_.text() + "; start millrace-master or give --api"};
    }
    const bool late = broken.getType() == TTransportException::TIMED_OUT;
    if (late && !greeted_) {
      return {ErrorCode::kUnavailable, "what listens at " + master_.text() + " has not answered like a master within " +
                                           std::to_string(session_.greeting_limit.count() / 1000) +
                                           " s; correct --api, or look whether the master hangs"};
    }
    return {ErrorCode::kUnavailable, "the master at " + master_.text() +
                                         (late ? " did not answer; look whether it hangs"
                                               : " closed the connection; look whether it is running") +
                                         ", and at `millrace jobs` before trying again"};
  } catch (const std::exception& other) {
    transport_.reset();
    return {ErrorCode::kInternal, "what listens at " + master_.text() + " is no master of this version (" +
                                      std::string(other.what()) + "); correct --api"};
  }
}

}  // namespace millrace::client
