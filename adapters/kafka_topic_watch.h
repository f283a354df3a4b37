// KafkaTopicWatch: who leads the partitions of a topic, for all direct readers of it together: one question at a time
// to one broker after the other, those that were named and those that were heard of. Belongs to the thread of a
// KafkaFetchLoop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapters/kafka_dialogue.h"
#include "adapters/kafka_messages.h"
#include "adapters/kafka_reader_settings.h"
#include "common/base/error.h"
#include "common/base/time.h"

namespace millrace {

class KafkaTopicWatch {
 public:
  // An answer is known by its number, from 1 on.
  using AnswerNumber = uint64_t;

  // Both outlive it.
  KafkaTopicWatch(const KafkaReaderSettings& settings, HostLookups& lookups)
      : settings_(settings), lookups_(lookups), topic_id_(settings.topic_id) {}

  // The number of the first answer to what is asked from now on; it will come, if a broker is there.
  AnswerNumber ask();
  // The next question goes to another broker.
  void doubt() { doubted_ = true; }

  [[nodiscard]] AnswerNumber answered() const { return answered_; }
  [[nodiscard]] const KafkaMetadata& newest() const { return newest_; }  // once there is one
  // Of the topic that is read: the one that was meant, or the first that was heard of.
  [[nodiscard]] const std::optional<KafkaTopicId>& topic_id() const { return topic_id_; }

  // While no broker answers: why the last one did not.
  [[nodiscard]] const std::optional<Error>& trouble() const { return trouble_; }
  // Set once a broker does not speak what a direct reader needs.
  [[nodiscard]] const std::optional<std::string>& unspoken() const { return unspoken_; }

  void serve(MonotonicTime now, short events);
  [[nodiscard]] int descriptor() const { return dialogue_ ? dialogue_->descriptor() : -1; }
  [[nodiscard]] short wanted_events() const { return dialogue_->wanted_events(); }
  [[nodiscard]] MonotonicTime serve_at() const;

 private:
  void go_on(MonotonicTime now);
  void take_answer(MonotonicTime now);
  void call_failed(Error error, MonotonicTime now);
  [[nodiscard]] std::vector<HostPort> brokers() const;

  const KafkaReaderSettings& settings_;
  HostLookups& lookups_;

  AnswerNumber wanted_ = 0;
  AnswerNumber answered_ = 0;
  KafkaMetadata newest_;
  std::optional<KafkaTopicId> topic_id_;
  std::optional<Error> trouble_;
  std::optional<std::string> unspoken_;

  std::optional<KafkaDialogue> dialogue_;
  bool asking_ = false;
  bool proven_ = false;  // the dialogue has had an answer
  bool doubted_ = false;
  size_t turn_ = 0;       // of brokers(), which of them is called
  int failed_calls_ = 0;  // in a row
  MonotonicTime not_before_ = MonotonicTime::min();
  MonotonicTime refresh_at_ = MonotonicTime::max();
};

}  // namespace millrace
