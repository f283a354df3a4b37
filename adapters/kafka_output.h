// KafkaOutput: an append output in a topic of Kafka: each batch of a part is a transaction, so that who reads committed
// records only sees each once. Blocking.
//
// With the records a transaction commits the batch's number, as the offset of a consumer group of the part's own, and
// the generation of its owner, as that offset's note. A new owner, and an owner that does not know what became of a
// transaction, looks at the note first, so that an older one disturbs nobody; then it makes a new producer of the
// part's transactional id: that keeps former ones out and waits until what they had under way has ended; then the
// offset says how far the part has come, and the owner puts its own generation beside it.
//
// The claim commits the first offset, 0. So an offset that is not there, or is less than the job knows, was forgotten
// by the broker, which is an error: nobody could say what to append.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "adapters/kafka_options.h"
#include "common/base/time.h"
#include "common/seams/output.h"

namespace millrace {

class KafkaTransactions;

class KafkaOutput {
 public:
  // kInvalid: it is no kafka://HOST:PORT/TOPIC, or a setting is none.
  static Result<KafkaOutput> open(const OutputTarget& target);
  ~KafkaOutput();
  KafkaOutput(KafkaOutput&&) noexcept;
  KafkaOutput& operator=(KafkaOutput&&) = delete;

  // That the topic is there, and transactions are possible; others may append to it, too.
  Status claim();
  // The broker forgets the offsets by itself.
  Status release() { return {}; }
  Status enter(int32_t part, Generation generation);
  Status append(const OutputBatch& batch);
  // Ends what waits, from any thread; nothing is appended after it.
  void interrupt() { *stopping_ = true; }

 private:
  struct Mark;
  struct Owner;
  KafkaOutput(const OutputTarget& target, KafkaOptions options);

  [[nodiscard]] std::string name_of(int32_t part) const { return name_ + "-" + std::to_string(part); }
  [[nodiscard]] Result<Mark> read_mark(int32_t part, Generation reader, const char* isolation) const;
  Result<Owner*> owner_of(int32_t part, Generation generation);
  Result<std::unique_ptr<Owner>> take_over(int32_t part, Generation generation);
  [[nodiscard]] std::unique_ptr<KafkaTransactions> make_producer(Duration patience) const;
  static Status give(KafkaTransactions& producer, const std::string& lines);
  Status note(KafkaTransactions& producer, int32_t part, BatchId batch, Generation generation) const;
  Status commit(int32_t part, BatchId mark, const std::string& lines);

  KafkaOptions options_;
  std::string name_;  // of the job's output, without the part
  int32_t parts_;
  std::unique_ptr<std::atomic<bool>> stopping_ = std::make_unique<std::atomic<bool>>(false);
  std::map<int32_t, std::unique_ptr<Owner>> owners_;  // by part
};

}  // namespace millrace
