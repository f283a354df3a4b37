// KafkaRequestKeys: which requests were stored lately, and where, as one partition of a topic of keys says it. For one
// thread; catch_up() blocks.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "adapters/kafka_config.h"
#include "adapters/kafka_options.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/time.h"
#include "common/seams/record_writer.h"

namespace millrace {

class KafkaRequestKeys {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Options {
    KafkaOptions topic;  // of the keys
    LogPartition partition;
    Duration span = std::chrono::minutes(11);  // that a key is remembered: 10, and what a request may wait
    size_t most = 1'000'000;
  };

  // `stopping` outlives it, and ends catch_up().
  KafkaRequestKeys(Options options, const std::atomic<bool>& stopping)
      : options_(std::move(options)), stopping_(stopping) {}

  // Whoever takes the partition writes one, and reads up to it.
  static constexpr char kFence[] = "fence";

  // Learns what was committed before the fence, since it was last called or in the last two spans by the clock of this
  // machine, so that others' clocks may be a span behind. A reader that has come to an end may not have come to all,
  // where a broker began to lead a moment ago; one that has seen the fence has.
  Status catch_up(Duration patience, Offset fence);

  // Null: it is not known.
  [[nodiscard]] const std::vector<WrittenRange>* find(const std::string& key) const;
  void add(std::string key, std::vector<WrittenRange> places, Time now);
  void forget_old(Time now);
  [[nodiscard]] bool full() const { return places_.size() >= options_.most; }

  // What stands in the topic: "1 PARTITION:FIRST+COUNT ...".
  static std::string to_text(const std::vector<WrittenRange>& places);
  // nullopt: it is no such text.
  static std::optional<std::vector<WrittenRange>> from_text(std::string_view text);

 private:
  Result<Offset> where_to_begin(rd_kafka_t* client, Offset fence) const;
  [[nodiscard]] std::unexpected<Error> failed(rd_kafka_resp_err_t error) const;
  void learn(const rd_kafka_message_t& message, Time now);

  const Options options_;
  const std::atomic<bool>& stopping_;
  Offset next_{0};                                                     // that was not read yet
  std::unordered_map<std::string, std::vector<WrittenRange>> places_;  // by key
  std::deque<std::pair<Time, std::string>> ages_;                      // keys in the order in which they came
};

}  // namespace millrace
