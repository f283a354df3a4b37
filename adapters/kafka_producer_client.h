// KafkaProducerClient: a client of librdkafka that appends to one topic, each record once and in the order of the calls
// per partition (idempotent, acknowledged by all replicas). What KafkaProducer and KafkaWriter have in common.
#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/kafka_config.h"
#include "adapters/kafka_options.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/time.h"

namespace millrace {

// Thread-safe, once the topic was found.
class KafkaProducerClient {
 public:
  using Settings = std::map<std::string, std::string>;
  // What became of a record; `message->_private` is the `tag` of its produce(). Called in poll() and in the destructor.
  using OnDelivery = std::function<void(const rd_kafka_message_t& message)>;

  // kInvalid: bad settings. `ours` come before those of the options.
  static Result<std::unique_ptr<KafkaProducerClient>> make(const KafkaOptions& options, const Settings& ours,
                                                           OnDelivery on_delivery);
  // Gives up what has not been delivered, and says so.
  ~KafkaProducerClient();
  KafkaProducerClient(const KafkaProducerClient&) = delete;
  KafkaProducerClient& operator=(const KafkaProducerClient&) = delete;

  // Whether the topic is there; a broker that is asked for one by name may create it. One that is not known may have
  // been made a moment ago: asks again for kNewTopicTime, and of brokers that are away for `timeout`.
  Status look_for_topic(Duration timeout);
  // Of any topic, 0: it is not there; as the last look_for_topic() has found. From the thread that calls that.
  [[nodiscard]] int32_t partitions_of(const std::string& topic) const;

  struct Record {
    std::optional<std::string_view> key;
    std::string_view value;
    std::optional<LogPartition> partition;  // none: by the key, or spread
    void* tag = nullptr;
  };
  // Queues a copy of it. After the topic was found.
  rd_kafka_resp_err_t produce(const Record& record);
  void poll(Duration most) { rd_kafka_poll(client_, static_cast<int>(to_ms(most))); }
  rd_kafka_resp_err_t flush(Duration most) { return rd_kafka_flush(client_, static_cast<int>(to_ms(most))); }

  // It appends no more, ever, and must be made anew.
  [[nodiscard]] bool dead() const { return rd_kafka_fatal_error(client_, nullptr, 0) != RD_KAFKA_RESP_ERR_NO_ERROR; }
  [[nodiscard]] Error explain(rd_kafka_resp_err_t error) const;

 private:
  KafkaProducerClient(KafkaOptions options, OnDelivery on_delivery)
      : options_(std::move(options)), on_delivery_(std::move(on_delivery)) {}
  Status start(const Settings& ours);
  rd_kafka_resp_err_t ask_for_topic();

  const KafkaOptions options_;
  const OnDelivery on_delivery_;
  rd_kafka_t* client_ = nullptr;  // owned
  KafkaTopicHandle topic_;
  std::map<std::string, int32_t> partitions_;                              // of each topic there is
  std::atomic<rd_kafka_resp_err_t> refused_ = RD_KAFKA_RESP_ERR_NO_ERROR;  // authentication, TLS
};

}  // namespace millrace
