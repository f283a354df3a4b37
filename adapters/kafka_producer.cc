#include "adapters/kafka_producer.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "adapters/kafka_config.h"
#include "common/base/check.h"

namespace millrace {
namespace {

constexpr int kAppendStepMs = 200;
constexpr int kAppendPauseMs = 50;

const std::map<std::string, std::string> kProducerSettings = {
    {"client.id", "millrace"},       {"linger.ms", "5"},
    {"batch.size", "1000000"},       {"queue.buffering.max.kbytes", "65536"},
    {"message.timeout.ms", "30000"}, {"log.connection.close", "false"},
};

const std::map<std::string, std::string> kProducerNeeds = {{"acks", "all"}, {"enable.idempotence", "true"}};

}  // namespace

class KafkaProducer::Client {
 public:
  explicit Client(const KafkaOptions& options) : options_(options) {}
  ~Client() {
    topic_ = nullptr;
    if (client_ == nullptr) return;
    rd_kafka_purge(client_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_destroy(client_);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Status connect(Duration timeout) {
    auto conf = make_kafka_conf(options_, kProducerSettings, kProducerNeeds);
    if (!conf) return std::unexpected(conf.error());
    rd_kafka_conf_set_opaque(conf->get(), this);
    rd_kafka_conf_set_dr_msg_cb(conf->get(), on_delivery);
    rd_kafka_conf_set_error_cb(conf->get(), on_error);
    char text[512] = {};
    client_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf->get(), text, sizeof text);
    if (client_ == nullptr) {
      return fail(ErrorCode::kInvalid,
                  std::string("librdkafka does not start: ") + text + "; correct the Kafka settings");
    }
    conf->release();  // NOLINT: taken over by the client
    topic_.reset(rd_kafka_topic_new(client_, options_.topic.c_str(), nullptr));
    if (topic_ == nullptr) {
      return fail(ErrorCode::kInvalid, "'" + options_.topic + "' is no name of a topic; correct the URI");
    }
    return look_for_topic(timeout);
  }

  Status append(std::string_view value, std::optional<LogPartition> partition) {
    const int32_t to = partition ? partition->value() : RD_KAFKA_PARTITION_UA;
    for (;;) {
      rd_kafka_poll(client_, 0);
      if (failed_ != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(explain(failed_));
      // The payload is not changed, since it is copied; the interface lacks the const.
      if (rd_kafka_produce(topic_.get(), to, RD_KAFKA_MSG_F_COPY, const_cast<char*>(value.data()), value.size(),
                           nullptr, 0, nullptr) == 0) {
        return {};
      }
      const rd_kafka_resp_err_t error = rd_kafka_last_error();
      if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) return std::unexpected(explain(error));
      rd_kafka_poll(client_, kAppendStepMs);
    }
  }

  Status flush(Duration timeout) {
    const rd_kafka_resp_err_t error = rd_kafka_flush(client_, static_cast<int>(to_ms(timeout)));
    if (failed_ != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(explain(failed_));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(explain(error));
    return {};
  }

  [[nodiscard]] int64_t delivered() const { return delivered_; }

 private:
  static void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    auto* const self = static_cast<Client*>(opaque);
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      ++self->delivered_;
    } else if (self->failed_ == RD_KAFKA_RESP_ERR_NO_ERROR) {
      self->failed_ = message->err;
    }
  }

  static void on_error(rd_kafka_t*, int error, const char*, void* opaque) {
    const auto code = static_cast<rd_kafka_resp_err_t>(error);
    if (kafka_error_code(code) == ErrorCode::kInvalid) static_cast<Client*>(opaque)->refused_ = code;
  }

  // A topic made a moment ago may not be known to the broker that is asked.
  Status look_for_topic(Duration timeout) {
    const auto begin = std::chrono::steady_clock::now();
    for (;;) {
      const rd_kafka_resp_err_t error = ask_for_topic();
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
      const bool unknown = error == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
      const bool away = error == RD_KAFKA_RESP_ERR__TIMED_OUT || error == RD_KAFKA_RESP_ERR__TRANSPORT;
      const Duration limit = unknown ? std::min(timeout, kNewTopicTime) : away ? timeout : Duration(0);
      if (refused_ != RD_KAFKA_RESP_ERR_NO_ERROR || std::chrono::steady_clock::now() - begin >= limit) {
        return std::unexpected(explain(error));
      }
      rd_kafka_poll(client_, kAppendPauseMs);
    }
  }

  // By the list of all topics: asking a broker for one may create it.
  rd_kafka_resp_err_t ask_for_topic() {
    const rd_kafka_metadata_t* found = nullptr;
    const rd_kafka_resp_err_t error = rd_kafka_metadata(client_, 1, nullptr, &found, kAppendStepMs);
    const RdKafkaMetadata metadata(found);
    rd_kafka_poll(client_, 0);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return error;
    for (int index = 0; index < metadata->topic_cnt; ++index) {
      if (metadata->topics[index].topic == options_.topic) return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    return RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
  }

  [[nodiscard]] Error explain(rd_kafka_resp_err_t error) const {
    const rd_kafka_resp_err_t first = refused_ != RD_KAFKA_RESP_ERR_NO_ERROR ? refused_ : error;
    if (kafka_error_code(first) == ErrorCode::kNotFound) {
      return {ErrorCode::kNotFound, "topic '" + options_.topic + "' on " + options_.brokers +
                                        " does not exist; create it or correct " + options_.option};
    }
    return kafka_error(options_, "cannot append to", first);
  }

  const KafkaOptions options_;
  rd_kafka_t* client_ = nullptr;  // owned
  KafkaTopicHandle topic_;
  int64_t delivered_ = 0;
  rd_kafka_resp_err_t failed_ = RD_KAFKA_RESP_ERR_NO_ERROR;   // of the first record that was not delivered
  rd_kafka_resp_err_t refused_ = RD_KAFKA_RESP_ERR_NO_ERROR;  // authentication, TLS
};

KafkaProducer::KafkaProducer(std::unique_ptr<Client> client) : client_(std::move(client)) {}
KafkaProducer::~KafkaProducer() = default;

Result<std::unique_ptr<KafkaProducer>> KafkaProducer::open(const KafkaOptions& options, Duration timeout) {
  if (Status valid = check_kafka_options(options); !valid) return std::unexpected(valid.error());
  auto client = std::make_unique<Client>(options);
  if (Status connected = client->connect(timeout); !connected) return std::unexpected(connected.error());
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
