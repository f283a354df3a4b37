#include "adapters/kafka_producer.h"

#include <chrono>

#include "adapters/kafka_producer_client.h"

namespace millrace {
namespace {

constexpr Duration kAppendStep = std::chrono::milliseconds(200);

const KafkaProducerClient::Settings kProducerSettings = {
    {"linger.ms", "5"}, {"queue.buffering.max.kbytes", "65536"}, {"message.timeout.ms", "30000"}};

}  // namespace

class KafkaProducer::Client {
 public:
  Status connect(const KafkaOptions& options, Duration timeout) {
    auto client = KafkaProducerClient::make(options, kProducerSettings, [this](const rd_kafka_message_t& message) {
      if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        ++delivered_;
      } else if (failed_ == RD_KAFKA_RESP_ERR_NO_ERROR) {
        failed_ = message.err;
      }
    });
    if (!client) return std::unexpected(client.error());
    client_ = std::move(*client);
    return client_->look_for_topic(timeout);
  }

  Status append(std::string_view value, std::optional<LogPartition> partition) {
    for (;;) {
      client_->poll({});
      if (failed_ != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(client_->explain(failed_));
      const rd_kafka_resp_err_t error = client_->produce({.value = value, .partition = partition});
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
      if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) return std::unexpected(client_->explain(error));
      client_->poll(kAppendStep);
    }
  }

  Status flush(Duration timeout) {
    const rd_kafka_resp_err_t error = client_->flush(timeout);
    if (failed_ != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(client_->explain(failed_));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(client_->explain(error));
    return {};
  }

  [[nodiscard]] int64_t delivered() const { return delivered_; }

 private:
  int64_t delivered_ = 0;
  rd_kafka_resp_err_t failed_ = RD_KAFKA_RESP_ERR_NO_ERROR;  // of the first record that was not delivered
  std::unique_ptr<KafkaProducerClient> client_;              // counts what it gives up when it goes
};

KafkaProducer::KafkaProducer(std::unique_ptr<Client> client) : client_(std::move(client)) {}
KafkaProducer::~KafkaProducer() = default;

Result<std::unique_ptr<KafkaProducer>> KafkaProducer::open(const KafkaOptions& options, Duration timeout) {
  auto client = std::make_unique<Client>();
  if (Status connected = client->connect(options, timeout); !connected) return std::unexpected(connected.error());
  return std::unique_ptr<KafkaProducer>(new KafkaProducer(std::move(client)));
}

Status KafkaProducer::append(std::string_view value, std::optional<LogPartition> partition) {
  return client_->append(value, partition);
}
Status KafkaProducer::flush(Duration timeout) {
  return client_->flush(timeout);
}
int64_t KafkaProducer::delivered() const {
  return client_->delivered();
}

}  // namespace millrace
