#include "adapters/kafka_handle.h"

#include <algorithm>

#include "common/base/check.h"

namespace millrace {
namespace {

constexpr int kStepMs = 500;
constexpr int kProbeMs = 100;
constexpr Duration kOneQuery = std::chrono::milliseconds(kStepMs);

// The queues are large because a full one makes librdkafka 2.0 idle for up to a second; about 128 MiB a partition is
// the bound of what is fetched and not yet packed.
const std::map<std::string, std::string> kOurs = {
    {"check.crcs", "true"},
    {"client.id", "millrace"},
    {"fetch.error.backoff.ms", "100"},
    {"fetch.max.bytes", "67108864"},
    {"fetch.message.max.bytes", "8388608"},
    {"log.connection.close", "false"},
    {"queued.max.messages.kbytes", "131072"},
    {"queued.min.messages", "500000"},
    {"reconnect.backoff.max.ms", "1000"},
    {"socket.keepalive.enable", "true"},
    {"socket.receive.buffer.bytes", "4194304"},
};

// auto.offset.reset: the default skips lost data in silence. enable.partition.eof tells of offsets without records.
const std::map<std::string, std::string> kNeeded = {
    {"allow.auto.create.topics", "false"}, {"auto.offset.reset", "error"},   {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"}, {"enable.partition.eof", "true"},
};

}  // namespace

Result<std::unique_ptr<KafkaHandle>> KafkaHandle::make(const KafkaOptions& options, KafkaWaker& waker) {
  auto conf = make_kafka_conf(options, kOurs, kNeeded);
  if (!conf) return std::unexpected(conf.error());
  std::unique_ptr<KafkaHandle> handle(new KafkaHandle(options, waker));
  rd_kafka_conf_set_opaque(conf->get(), handle.get());
  rd_kafka_conf_set_error_cb(conf->get(), on_error);
  char text[512] = {};
  handle->client_ = rd_kafka_new(RD_KAFKA_CONSUMER, conf->get(), text, sizeof text);
  if (handle->client_ == nullptr) {
    return fail(ErrorCode::kInvalid,
                std::string("librdkafka does not start: ") + text + "; correct the Kafka settings");
  }
  conf->release();  // NOLINT: taken over by the client
  handle->main_queue_.reset(rd_kafka_queue_get_main(handle->client_));
  rd_kafka_queue_cb_event_enable(handle->main_queue_.get(), on_event, &waker);
  handle->topic_.reset(rd_kafka_topic_new(handle->client_, options.topic.c_str(), nullptr));
  if (handle->topic_ == nullptr) {
    return fail(ErrorCode::kInvalid, "'" + options.topic + "' is no name of a topic; correct --source");
  }
  return handle;
}

KafkaHandle::~KafkaHandle() {
  CHECK(partitions_.empty());
  topic_ = nullptr;
  if (main_queue_ != nullptr) rd_kafka_queue_cb_event_enable(main_queue_.get(), nullptr, nullptr);
  main_queue_ = nullptr;
  if (client_ != nullptr) rd_kafka_destroy_flags(client_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void KafkaHandle::on_error(rd_kafka_t*, int error, const char* reason, void* opaque) {
  auto* const self = static_cast<KafkaHandle*>(opaque);
  const auto code = static_cast<rd_kafka_resp_err_t>(error);
  if (kafka_error_code(code) == ErrorCode::kInvalid) self->lasting_error_ = code;
  if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) return;
  self->away_ = true;
  self->why_away_ = reason;
}

void KafkaHandle::on_event(rd_kafka_t*, void* waker) {
  static_cast<KafkaWaker*>(waker)->wake();
}

Error KafkaHandle::explain(const std::string& what, rd_kafka_resp_err_t error) const {
  // A refused login shows as a time-out; what the broker said is the better answer.
  const bool hidden =
      kafka_error_code(error) == ErrorCode::kTimeout || kafka_error_code(error) == ErrorCode::kUnavailable;
  return kafka_error(options_, what, hidden && lasting_error_ != RD_KAFKA_RESP_ERR_NO_ERROR ? lasting_error_ : error);
}

Result<LogDescription> KafkaHandle::describe(Duration timeout, const std::atomic<bool>& stopping) {
  lasting_error_ = RD_KAFKA_RESP_ERR_NO_ERROR;
  KafkaMetadata metadata;
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__TIMED_OUT;
  for (Duration spent{0}; spent < timeout && !stopping && lasting_error_ == RD_KAFKA_RESP_ERR_NO_ERROR;
       spent += kOneQuery) {
    const rd_kafka_metadata_t* found = nullptr;
    error = rd_kafka_metadata(client_, 0, topic_.get(), &found, kStepMs);
    metadata.reset(found);
    poll();
    if (error != RD_KAFKA_RESP_ERR__TIMED_OUT && error != RD_KAFKA_RESP_ERR__TRANSPORT) break;
  }
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(explain("cannot ask for", error));
  heard();
  if (metadata->topic_cnt != 1) return std::unexpected(explain("cannot ask for", RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC));
  const rd_kafka_metadata_topic& topic = metadata->topics[0];
  if (topic.err != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(explain("cannot read", topic.err));
  LogDescription description;
  for (int index = 0; index < topic.partition_cnt; ++index) {
    const int32_t partition = topic.partitions[index].id;
    int64_t begin = 0;
    int64_t end = 0;
    error = RD_KAFKA_RESP_ERR__TIMED_OUT;
    for (Duration spent{0}; spent < timeout && !stopping; spent += kOneQuery) {
      error = rd_kafka_query_watermark_offsets(client_, options_.topic.c_str(), partition, &begin, &end, kStepMs);
      if (error != RD_KAFKA_RESP_ERR__TIMED_OUT) break;
    }
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(explain("cannot ask for the offsets of", error));
    description.partitions.push_back({LogPartition(partition), Offset(begin), Offset(end), -1});
  }
  std::ranges::sort(description.partitions, {}, &LogDescription::Partition::id);
  return description;
}

void KafkaHandle::probe() {
  if (!away_) return;
  const rd_kafka_metadata_t* found = nullptr;
  const rd_kafka_resp_err_t error = rd_kafka_metadata(client_, 0, topic_.get(), &found, kProbeMs);
  const KafkaMetadata metadata(found);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) heard();
}

Result<KafkaQueue> KafkaHandle::start(LogPartition partition, Offset from) {
  KafkaQueue queue(rd_kafka_queue_new(client_));
  rd_kafka_queue_cb_event_enable(queue.get(), on_event, &waker_);
  if (rd_kafka_consume_start_queue(topic_.get(), partition.value(), from.value(), queue.get()) != 0) {
    return std::unexpected(explain("cannot read", rd_kafka_last_error()));
  }
  CHECK(partitions_.insert(partition).second);
  return queue;
}

void KafkaHandle::stop(LogPartition partition) {
  rd_kafka_consume_stop(topic_.get(), partition.value());
  partitions_.erase(partition);
}

}  // namespace millrace
