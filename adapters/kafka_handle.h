// KafkaHandle: one client of librdkafka that reads partitions of one topic, each at most once at a time.
#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "adapters/kafka_config.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/time.h"
#include "common/seams/log.h"

namespace millrace {

// What the thread of a KafkaLog sleeps on; librdkafka's threads, the loop and released chunks wake it. Thread-safe.
class KafkaWaker {
 public:
  void wake() {
    const std::scoped_lock lock(mutex_);
    called_ = true;
    changed_.notify_one();
  }
  // Returns at once if it was called since the last return.
  void sleep(Duration most) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, most, [&] { return called_; });
    called_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool called_ = false;
};

// Used by the thread of a KafkaLog only.
class KafkaHandle {
 public:
  // kInvalid: settings. `waker` outlives the handle.
  static Result<std::unique_ptr<KafkaHandle>> make(const KafkaOptions& options, KafkaWaker& waker);
  ~KafkaHandle();
  KafkaHandle(const KafkaHandle&) = delete;
  KafkaHandle& operator=(const KafkaHandle&) = delete;

  // Serves the callbacks of librdkafka.
  void poll() { rd_kafka_poll(client_, 0); }
  // All brokers were found to be away, and nothing was heard of one since.
  [[nodiscard]] bool away() const { return away_; }
  [[nodiscard]] const std::string& why_away() const { return why_away_; }
  void heard() { away_ = false; }
  // Asks whether a broker is back, if they are away: librdkafka does not tell. Blocks shortly.
  void probe();

  // Asks the brokers; blocks in steps until `timeout` in all, or until `stopping` is set. What may pass (no leader yet,
  // a broker away) is asked again until then; that there is no such topic for kNewTopicTime, since one just made is not
  // known to every broker yet.
  Result<LogDescription> describe(Duration timeout, const std::atomic<bool>& stopping);

  // Log::find_time(), in the same way.
  Result<LogOffsets> find_time(int64_t time_ms, Duration timeout, const std::atomic<bool>& stopping);

  [[nodiscard]] bool reads(LogPartition partition) const { return partitions_.contains(partition); }
  // Delivers the partition from an offset on into a queue of its own, which wakes the waker.
  Result<KafkaQueue> start(LogPartition partition, Offset from);
  void stop(LogPartition partition);

 private:
  KafkaHandle(const KafkaOptions& options, KafkaWaker& waker) : options_(options), waker_(waker) {}
  static void on_error(rd_kafka_t* client, int error, const char* reason, void* handle);
  static void on_event(rd_kafka_t* client, void* waker);
  Error explain(const std::string& what, rd_kafka_resp_err_t error) const;

  // The steps of both.
  class Patience;
  bool ask_again(rd_kafka_resp_err_t error, const Patience& patience);
  struct Topic {
    std::vector<LogPartition> partitions;
    int32_t a_leader = -1;  // a broker that leads one of them
  };
  // The first of them.
  Result<Topic> ask_topic(const Patience& patience);
  Result<std::vector<Offset>> ask_offsets(const Topic& topic, int64_t which, const Patience& patience);
  Status ask_what_makes_unfit(const Topic& topic, const Patience& patience);  // sets unfit_

  const KafkaOptions options_;
  KafkaWaker& waker_;
  rd_kafka_t* client_ = nullptr;  // owned
  KafkaQueue main_queue_;
  KafkaTopicHandle topic_;
  std::set<LogPartition> partitions_;
  bool away_ = false;
  std::string why_away_;
  rd_kafka_resp_err_t lasting_error_ = RD_KAFKA_RESP_ERR_NO_ERROR;  // of authentication or TLS
  bool unresolved_ = false;                                         // a broker's host name, in this question
  std::optional<std::string> unfit_;  // LogDescription::unfit, once the brokers have answered, or refused to
};

}  // namespace millrace
