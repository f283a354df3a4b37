#include "adapters/log_feed.h"

#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TMultiplexedProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TSocket.h>

#include <algorithm>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "Ingest.h"
#include "adapters/kafka_producer.h"
#include "common/base/byte_order.h"
#include "common/model/address.h"
#include "common/model/hash.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

using apache::thrift::TConfiguration;
using apache::thrift::TException;
using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::protocol::TMultiplexedProtocol;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TSocket;

constexpr int kConnectMs = 2'000;
constexpr int kAnswerMs = 10'000;  // of a disk that is slow; what is repeated then is stored once
constexpr int kMaxMessageBytes = 16 << 20;
constexpr int32_t kPartitions = 4;       // of a log that is not there yet
constexpr size_t kMostRecords = 50'000;  // of one append
constexpr auto kKafkaWait = std::chrono::seconds(5);

// Positive, as producer ids are.
int64_t producer_of(uint64_t number) {
  return static_cast<int64_t>(number >> 1 | 1);
}

class IngestFeed final : public LogFeed {
 public:
  IngestFeed(std::string log, const HostPort& master) : log_(std::move(log)), master_(master) {
    // Thrift writes its errors to standard error by itself, besides throwing them.
    apache::thrift::GlobalOutput.setOutputFunction([](const char*) {});
    std::random_device random;
    own_producer_ = producer_of(uint64_t{random()} << 32 | random());
  }

  Status append(std::span<const std::string_view> records, uint64_t key) override {
    try {
      if (connection_ == nullptr) connect();
      for (; slices_done_ * kMostRecords < records.size(); ++slices_done_) {
        const size_t begin = slices_done_ * kMostRecords;
        append_slice(records.subspan(begin, std::min(kMostRecords, records.size() - begin)), key);
      }
      slices_done_ = 0;
      return {};
    } catch (const api::Failure& failure) {
      return fail(ErrorCode::kUnavailable, "cannot append to log://" + log_ + ": " + failure.message);
    } catch (const TException& broken) {
      connection_.reset();
      return fail(ErrorCode::kUnavailable, "cannot append to log://" + log_ + ": the master at " + master_.text() +
                                               " does not answer (" + broken.what() + "); start it");
    }
  }

 private:
  struct Connection {
    explicit Connection(const HostPort& master)
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

  void connect() {
    auto connection = std::make_unique<Connection>(master_);
    connection->framed->open();
    const int32_t partitions = connection->ingest.open_log(log_, kPartitions);
    sequences_.resize(static_cast<size_t>(std::max(partitions, 1)));
    connection_ = std::move(connection);
  }

  // What has no key is numbered by this feed alone.
  void append_slice(std::span<const std::string_view> records, uint64_t key) {
    int64_t producer = own_producer_;
    size_t partition = next_;
    int64_t sequence = sequences_[next_] + 1;
    if (key != 0) {
      std::string name(16, '\0');
      store_little(name.data(), key);
      store_little(name.data() + 8, uint64_t{slices_done_});
      const uint64_t number = hash_of(name);
      producer = producer_of(number);
      partition = number % sequences_.size();
      sequence = 1;
    }
    api::AppendResult stored;
    connection_->ingest.append(stored, log_, static_cast<int32_t>(partition), {records.begin(), records.end()},
                               producer, sequence, {});
    if (key != 0) return;
    ++sequences_[next_];
    next_ = (next_ + 1) % sequences_.size();
  }

  const std::string log_;
  const HostPort master_;
  int64_t own_producer_ = 0;

  std::unique_ptr<Connection> connection_;  // null: none
  std::vector<int64_t> sequences_;          // by partition: the newest of this feed's own
  size_t next_ = 0;                         // partition
  size_t slices_done_ = 0;                  // of the append that is under way or to be repeated
};

class KafkaFeed final : public LogFeed {
 public:
  explicit KafkaFeed(KafkaOptions options) : options_(std::move(options)) {
    // Whoever repeats a record that is only late doubles it.
    if (!options_.config.contains("delivery.timeout.ms")) options_.config.try_emplace("message.timeout.ms", "0");
  }

  Status append(std::span<const std::string_view> records, uint64_t) override {
    if (producer_ == nullptr) {
      auto producer = KafkaProducer::open(options_, kKafkaWait);
      if (!producer) return std::unexpected(producer.error());
      producer_ = std::move(*producer);
      queued_ = 0;
    }
    for (; queued_ < records.size(); ++queued_) {
      if (Status taken = producer_->append(records[queued_]); !taken) return give_up(taken.error());
    }
    if (Status flushed = producer_->flush(kKafkaWait); !flushed) {
      if (flushed.error().code == ErrorCode::kTimeout) return flushed;
      return give_up(flushed.error());
    }
    queued_ = 0;
    return {};
  }

 private:
  Status give_up(Error error) {
    producer_.reset();
    return std::unexpected(std::move(error));
  }

  KafkaOptions options_;
  std::unique_ptr<KafkaProducer> producer_;  // null: none
  size_t queued_ = 0;                        // records of the append that is under way or to be repeated
};

}  // namespace

Result<std::unique_ptr<LogFeed>> open_log_feed(const LogFeedTarget& target) {
  const Result<Uri> uri = parse_uri(target.uri);
  if (!uri) return std::unexpected(uri.error());
  if (uri->scheme == "kafka") {
    return std::make_unique<KafkaFeed>(KafkaOptions{uri->authority, uri->path, target.config});
  }
  const auto master = parse_address("the master's --api", target.api);
  if (!master) return std::unexpected(master.error());
  return std::make_unique<IngestFeed>(uri->authority, *master);
}

}  // namespace millrace
