// KafkaTransactions: a producer of one transactional id, which appends to topics what readers of committed records see
// all at once or never. Blocking; for one thread.
#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/kafka_config.h"
#include "adapters/kafka_options.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/time.h"
#include "common/seams/record_writer.h"

namespace millrace {

// How long to go on calling what a broker does not do yet: as long as something goes on, and nobody wants it to end.
class KafkaPatience {
 public:
  KafkaPatience(Duration patience, const std::atomic<bool>& stopping) : patience_(patience), stopping_(stopping) {}

  void progress() { since_ = std::chrono::steady_clock::now(); }
  [[nodiscard]] bool is_over() const { return std::chrono::steady_clock::now() - since_ >= patience_; }
  [[nodiscard]] bool stopping() const { return stopping_; }
  static std::unexpected<Error> ended() { return fail(ErrorCode::kUnavailable, "this process ends"); }

 private:
  const Duration patience_;
  const std::atomic<bool>& stopping_;
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

// After an error there is nothing to do with it but to make a new one, whose start() settles what became of the
// transaction.
class KafkaTransactions {
 public:
  // What an error of librdkafka means to whoever uses this.
  using Explain = std::function<Error(rd_kafka_resp_err_t error, const std::string& text)>;

  struct Record {
    std::optional<std::string_view> key;
    std::string_view value;
    std::optional<LogPartition> partition;  // none: by the key as Kafka's own clients choose it, or spread
    WrittenRange* written = nullptr;        // set when it is delivered
  };

  // `topics` are those that it appends to. `stopping` outlives it, and ends what waits.
  KafkaTransactions(KafkaOptions options, std::vector<std::string> topics, Explain explain, Duration patience,
                    const std::atomic<bool>& stopping);
  ~KafkaTransactions();
  KafkaTransactions(const KafkaTransactions&) = delete;
  KafkaTransactions& operator=(const KafkaTransactions&) = delete;

  // From here on all others of this id are kept out, and what they had under way has ended. `ours` come before those of
  // the options.
  Status start(const std::string& id, const std::map<std::string, std::string>& ours);

  Status begin();
  // Gives a copy of it to librdkafka, which sends it.
  Status give(size_t topic, const Record& record);
  // Waits until all that was given is delivered.
  Status deliver();
  // Notes an offset of partition 0 of the first topic, with a text, for a consumer group.
  Status note(const std::string& group, int64_t offset, const std::string& text);
  Status commit();
  // After a commit that went wrong on its way and was repeated, the late first one could end the next transaction in
  // its middle: then false, and a new producer is to be made.
  [[nodiscard]] bool may_go_on() const { return may_go_on_; }

 private:
  static void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* self);
  void learn_topics();
  template <typename Call>
  Status finish(Call call);
  [[nodiscard]] Status failure(const rd_kafka_error_t& error) const;
  [[nodiscard]] Status failure(rd_kafka_resp_err_t error) const;

  const KafkaOptions options_;
  const std::vector<std::string> names_;
  const Explain explain_;
  KafkaPatience patience_;
  bool may_go_on_ = true;
  rd_kafka_resp_err_t failed_ = RD_KAFKA_RESP_ERR_NO_ERROR;  // of the first record that was not delivered
  KafkaClient client_;                                       // calls on_delivery until it is gone
  std::vector<KafkaTopicHandle> topics_;                     // of client_
};

}  // namespace millrace
