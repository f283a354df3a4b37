#include "adapters/ingest_connection.h"

#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TMultiplexedProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TSocket.h>

#include <utility>

#include "Ingest.h"

namespace millrace {
namespace {

using apache::thrift::TConfiguration;
using apache::thrift::TException;
using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::protocol::TMultiplexedProtocol;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TSocket;

constexpr int kConnectMs = 2'000;
constexpr int kAnswerMs = 10'000;  // of a disk that is slow
constexpr int kMaxMessageBytes = 16 << 20;

ErrorCode code_of(api::ErrorKind::type kind) {
  switch (kind) {
    case api::ErrorKind::INVALID: return ErrorCode::kInvalid;
    case api::ErrorKind::NOT_FOUND: return ErrorCode::kNotFound;
    case api::ErrorKind::EXISTS: return ErrorCode::kExists;
    case api::ErrorKind::UNAVAILABLE:
    case api::ErrorKind::TIMED_OUT: return ErrorCode::kUnavailable;
    case api::ErrorKind::INTERNAL: return ErrorCode::kInternal;
  }
  return ErrorCode::kInternal;
}

}  // namespace

struct IngestConnection::Transport {
  explicit Transport(const HostPort& master)
      : limits(std::make_shared<TConfiguration>(kMaxMessageBytes, kMaxMessageBytes)),
        socket(std::make_shared<TSocket>(master.host, master.port, limits)),
        framed(std::make_shared<TFramedTransport>(socket, limits)),
        ingest(std::make_shared<TMultiplexedProtocol>(std::make_shared<TBinaryProtocol>(framed), "Ingest")) {
    socket->setConnTimeout(kConnectMs);
    socket->setRecvTimeout(kAnswerMs);
    socket->setSendTimeout(kAnswerMs);
  }
  const std::shared_ptr<TConfiguration> limits;
  const std::shared_ptr<TSocket> socket;
  const std::shared_ptr<TFramedTransport> framed;
  api::IngestClient ingest;
};

IngestConnection::IngestConnection(HostPort master) : master_(std::move(master)) {
  // Thrift writes its errors to standard error by itself, besides throwing them. Set once: it is not for several
  // threads.
  [[maybe_unused]] static const bool kQuiet = [] {
    apache::thrift::GlobalOutput.setOutputFunction([](const char*) {});
    return true;
  }();
}
IngestConnection::~IngestConnection() = default;

template <typename Answer, typename Use>
Result<Answer> IngestConnection::call(Use use) {
  sent_ = false;
  try {
    if (transport_ == nullptr) {
      auto transport = std::make_unique<Transport>(master_);
      transport->framed->open();
      transport_ = std::move(transport);
    }
    sent_ = true;
    return use(transport_->ingest);
  } catch (const api::Failure& failure) {
    return fail(code_of(failure.kind), failure.message);
  } catch (const TException& broken) {
    transport_.reset();
    return fail(ErrorCode::kUnavailable,
                "the master at " + master_.text() + " does not answer (" + broken.what() + "); start it");
  }
}

Result<int32_t> IngestConnection::open_log(const std::string& log, int32_t partitions) {
  return call<int32_t>([&](api::IngestClient& ingest) { return ingest.open_log(log, partitions); });
}

Result<OffsetRange> IngestConnection::append(const std::string& log, LogPartition partition,
                                             const std::vector<std::string>& values,
                                             const std::vector<std::string>& keys, AppendIdentity identity) {
  return call<OffsetRange>([&](api::IngestClient& ingest) {
    api::AppendResult stored;
    ingest.append(stored, log, partition.value(), values, identity.producer_id, identity.sequence, keys);
    return OffsetRange{Offset(stored.first_offset), Offset(stored.next_offset)};
  });
}

int64_t producer_id_of(uint64_t number) {
  return static_cast<int64_t>(number >> 1 | 1);
}

}  // namespace millrace
