#include "adapters/kafka_producer_client.h"

#include <algorithm>
#include <chrono>

namespace millrace {
namespace {

constexpr Duration kStep = std::chrono::milliseconds(200);
constexpr Duration kPause = std::chrono::milliseconds(50);
constexpr Duration kEndTime = std::chrono::seconds(5);

const KafkaProducerClient::Settings kSettings = {
    {"client.id", "millrace"},
    {"batch.size", "1000000"},
    {"log.connection.close", "false"},
};

const KafkaProducerClient::Settings kNeeds = {{"acks", "all"}, {"enable.idempotence", "true"}};

}  // namespace

Result<std::unique_ptr<KafkaProducerClient>> KafkaProducerClient::make(const KafkaOptions& options,
                                                                       const Settings& ours, OnDelivery on_delivery) {
  if (Status valid = check_kafka_options(options); !valid) return std::unexpected(valid.error());
  auto client = std::unique_ptr<KafkaProducerClient>(new KafkaProducerClient(options, std::move(on_delivery)));
  if (Status started = client->start(ours); !started) return std::unexpected(started.error());
  return client;
}

Status KafkaProducerClient::start(const Settings& ours) {
  Settings settings = kSettings;
  settings.insert(ours.begin(), ours.end());
  auto conf = make_kafka_conf(options_, settings, kNeeds);
  if (!conf) return std::unexpected(conf.error());
  rd_kafka_conf_set_opaque(conf->get(), this);
  rd_kafka_conf_set_dr_msg_cb(conf->get(), [](rd_kafka_t*, const rd_kafka_message_t* message, void* self) {
    static_cast<KafkaProducerClient*>(self)->on_delivery_(*message);
  });
  rd_kafka_conf_set_error_cb(conf->get(), [](rd_kafka_t*, int error, const char*, void* self) {
    const auto code = static_cast<rd_kafka_resp_err_t>(error);
    if (kafka_error_code(code) == ErrorCode::kInvalid) static_cast<KafkaProducerClient*>(self)->refused_ = code;
  });
  char text[512] = {};
  client_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf->get(), text, sizeof text);
  if (client_ == nullptr) {
    return fail(ErrorCode::kInvalid,
                std::string("librdkafka does not start: ") + text + "; correct the Kafka settings");
  }
  conf->release();  // NOLINT: taken over by the client
  return {};
}

KafkaProducerClient::~KafkaProducerClient() {
  if (client_ == nullptr) return;
  rd_kafka_purge(client_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  flush(kEndTime);
  topic_ = nullptr;
  rd_kafka_destroy(client_);
}

rd_kafka_resp_err_t KafkaProducerClient::produce(const Record& record) {
  const int32_t to = record.partition ? record.partition->value() : RD_KAFKA_PARTITION_UA;
  // The payload is not changed, since it is copied; the interface lacks the const.
  const int queued = rd_kafka_produce(topic_.get(), to, RD_KAFKA_MSG_F_COPY, const_cast<char*>(record.value.data()),
                                      record.value.size(), record.key ? record.key->data() : nullptr,
                                      record.key ? record.key->size() : 0, record.tag);
  return queued == 0 ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_last_error();
}

Status KafkaProducerClient::look_for_topic(Duration timeout) {
  const auto begin = std::chrono::steady_clock::now();
  for (;;) {
    const rd_kafka_resp_err_t error = ask_for_topic();
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      // Not before: librdkafka asks for the topics of its handles by name.
      if (topic_ == nullptr) topic_.reset(rd_kafka_topic_new(client_, options_.topic.c_str(), nullptr));
      return {};
    }
    const bool unknown = error == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    const bool away = error == RD_KAFKA_RESP_ERR__TIMED_OUT || error == RD_KAFKA_RESP_ERR__TRANSPORT;
    const Duration limit = unknown ? std::min(timeout, kNewTopicTime) : away ? timeout : Duration(0);
    if (refused_ != RD_KAFKA_RESP_ERR_NO_ERROR || std::chrono::steady_clock::now() - begin >= limit) {
      return std::unexpected(explain(error));
    }
    poll(kPause);
  }
}

// By the list of all topics.
rd_kafka_resp_err_t KafkaProducerClient::ask_for_topic() {
  const rd_kafka_metadata_t* found = nullptr;
  const rd_kafka_resp_err_t error = rd_kafka_metadata(client_, 1, nullptr, &found, static_cast<int>(to_ms(kStep)));
  const RdKafkaMetadata metadata(found);
  poll({});
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return error;
  partitions_.clear();
  for (int index = 0; index < metadata->topic_cnt; ++index) {
    partitions_.emplace(metadata->topics[index].topic, metadata->topics[index].partition_cnt);
  }
  return partitions_.contains(options_.topic) ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
}

int32_t KafkaProducerClient::partitions_of(const std::string& topic) const {
  const auto found = partitions_.find(topic);
  return found == partitions_.end() ? 0 : found->second;
}

Error KafkaProducerClient::explain(rd_kafka_resp_err_t error) const {
  const rd_kafka_resp_err_t refused = refused_;
  const rd_kafka_resp_err_t first = refused != RD_KAFKA_RESP_ERR_NO_ERROR ? refused : error;
  if (kafka_error_code(first) == ErrorCode::kNotFound) {
    return {ErrorCode::kNotFound, "topic '" + options_.topic + "' on " + options_.brokers +
                                      " does not exist; create it or correct " + options_.option};
  }
  return kafka_error(options_, "cannot append to", first);
}

}  // namespace millrace
