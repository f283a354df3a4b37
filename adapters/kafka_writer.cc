#include "adapters/kafka_writer.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace millrace {
namespace {

constexpr Duration kPollTime = std::chrono::milliseconds(100);
constexpr Duration kAskTime = std::chrono::seconds(2);
constexpr Duration kAskAgainAfter = std::chrono::seconds(1);

// What is under way is bounded by WritesUnderWay; librdkafka's own queue holds more than that.
const KafkaProducerClient::Settings kWriterSettings = {
    {"linger.ms", "1"},
    // A broker takes up a connection's next request when the last one is answered, so more than one waiting there gains
    // nothing; while five do, librdkafka 2.0 looks for the next chance without a pause, which took half of a core.
    {"max.in.flight.requests.per.connection", "2"},
    {"partitioner", "murmur2_random"},
    {"message.timeout.ms", "10000"},
    {"queue.buffering.max.messages", "1000000"},
    {"queue.buffering.max.kbytes", "262144"},
};

}  // namespace

Result<std::unique_ptr<KafkaWriter>> KafkaWriter::open(const KafkaOptions& options, size_t most_bytes) {
  auto writer = std::unique_ptr<KafkaWriter>(new KafkaWriter(options, most_bytes));
  auto client = writer->make_client();
  if (!client) return std::unexpected(client.error());
  writer->client_ = std::move(*client);
  writer->problem_ = writer->place() + "the brokers have not answered yet";
  writer->watching_ = std::jthread([self = writer.get()](const std::stop_token& stop) { self->watch(stop); });
  writer->serving_ = std::jthread([self = writer.get()](const std::stop_token& stop) { self->serve(stop); });
  return writer;
}

KafkaWriter::~KafkaWriter() {
  watching_ = {};
  serving_ = {};
  client_ = nullptr;  // which tells all that is under way that it was given up
}

std::string KafkaWriter::place() const {
  return "kafka://" + options_.brokers + "/" + options_.topic + ": ";
}

Result<std::shared_ptr<KafkaProducerClient>> KafkaWriter::make_client() {
  return KafkaProducerClient::make(options_, kWriterSettings,
                                   [this](const rd_kafka_message_t& message) { on_delivery(message); });
}

void KafkaWriter::write(WriteRequest request, Done done) {
  if (!request.idempotency_key.empty()) return once_.write(std::move(request), std::move(done));
  std::shared_ptr<KafkaProducerClient> client;
  {
    std::unique_lock lock(mutex_);
    if (!seen_) {
      Error away{ErrorCode::kUnavailable, problem_ + "; nothing of this is stored, send it again later"};
      lock.unlock();
      return done(std::unexpected(std::move(away)));
    }
    client = client_;
  }
  WritesUnderWay::Write* const write =
      writes_.begin(WritesUnderWay::bytes_of(request), request.records.size(), std::move(done));
  if (write == nullptr) return;
  for (const KeyedRecord& record : request.records) {
    const rd_kafka_resp_err_t error = client->produce({.key = record.key, .value = record.value, .tag = write});
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) fail_record(write, error, false);
  }
}

void KafkaWriter::on_delivery(const rd_kafka_message_t& message) {
  auto* const write = static_cast<WritesUnderWay::Write*>(message._private);
  if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    return writes_.stored(write, {LogPartition(message.partition), Offset(message.offset), 1});
  }
  fail_record(write, message.err, rd_kafka_message_status(&message) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED);
}

// Only the size of a record is the fault of whoever sent it.
void KafkaWriter::fail_record(WritesUnderWay::Write* write, rd_kafka_resp_err_t error, bool may_be_stored) {
  const std::string why = place() + rd_kafka_err2str(error);
  if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
    writes_.failed(write, {ErrorCode::kInvalid,
                           why + "; a record of this request is larger than message.max.bytes, and is not stored"});
  } else if (may_be_stored) {
    writes_.failed(write, {ErrorCode::kTimeout, why + "; the records may be stored or not"});
  } else {
    writes_.failed(write, {ErrorCode::kUnavailable, why + "; nothing of this is stored, send it again later"});
  }
}

// Delivers what becomes of records.
void KafkaWriter::serve(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "kafka-writer");
  while (!stop.stop_requested()) {
    std::shared_ptr<KafkaProducerClient> client;
    {
      const std::scoped_lock lock(mutex_);
      client = client_;
    }
    client->poll(kPollTime);
  }
}

// Looks for the topic again and again, and makes a client anew that is dead.
void KafkaWriter::watch(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "kafka-watch");
  do {
    std::shared_ptr<KafkaProducerClient> client;
    {
      const std::scoped_lock lock(mutex_);
      client = client_;
    }
    if (client->dead()) {
      auto made = make_client();
      {
        const std::scoped_lock lock(mutex_);
        seen_ = false;
        if (made) client_ = *made;
      }
      if (made) client = std::move(*made);  // the dead one goes here, which takes a while
    }
    look(*client);
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, kAskAgainAfter, [] { return false; });
  } while (!stop.stop_requested());
}

void KafkaWriter::look(KafkaProducerClient& client) {
  const Status found = client.look_for_topic(kAskTime);
  if (found) once_.set_partitions(client.partitions_of(KafkaOnceWriter::topic_of_keys(options_)));
  const std::scoped_lock lock(mutex_);
  problem_ = found ? "" : place() + found.error().message;
  seen_ = seen_ || found.has_value();
}

RecordWriter::Health KafkaWriter::health() const {
  const std::scoped_lock lock(mutex_);
  return {.problem = problem_, .oldest_wait = std::max(writes_.oldest_wait(), once_.oldest_wait())};
}

}  // namespace millrace
