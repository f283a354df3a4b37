// KafkaStream: one partition as it comes from librdkafka, packed into record batches. The one copy of the records
// between broker and map; the batches carry no CRC, since librdkafka has verified the broker's (check.crcs).
#pragma once

#include <librdkafka/rdkafka.h>

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "adapters/kafka_handle.h"
#include "common/model/record_batch.h"

namespace millrace {

// Used by the thread of a KafkaLog only.
class KafkaStream {
 public:
  struct Piece {
    std::string bytes;  // one record batch, or none where offsets hold no record
    OffsetRange range;
    int64_t records = 0;
  };
  struct Nothing {};
  using Step = std::variant<Nothing, Piece, Error>;

  // `handle` outlives the stream and does not read the partition yet.
  static Result<std::unique_ptr<KafkaStream>> start(KafkaHandle& handle, const KafkaOptions& kafka,
                                                    const LogReaderOptions& options);
  ~KafkaStream();
  KafkaStream(const KafkaStream&) = delete;
  KafkaStream& operator=(const KafkaStream&) = delete;

  // What is there, without waiting: as many records as fit into `wanted_bytes`, or else a first larger one if that
  // fits into `most_bytes`. kUnavailable: it goes on by itself. Other errors are final.
  Step next(size_t wanted_bytes, size_t most_bytes);

  [[nodiscard]] bool finished() const { return until_ && next_ >= *until_; }
  [[nodiscard]] const KafkaHandle& handle() const { return handle_; }

 private:
  KafkaStream(KafkaHandle& handle, const KafkaOptions& kafka, const LogReaderOptions& options);
  bool fill();
  void drop_until(size_t index);
  Piece pack(size_t count, size_t bytes);
  Step interpret_error(const rd_kafka_message_t& message);
  Step pass_over(Offset to);

  KafkaHandle& handle_;
  const KafkaOptions& kafka_;  // outlives this
  const LogPartition partition_;
  const std::optional<Offset> until_;
  Offset next_;
  KafkaQueue queue_;

  // Consumed and not yet packed: those from first_ to count_.
  std::vector<rd_kafka_message_t*> messages_;
  size_t first_ = 0;
  size_t count_ = 0;
  RecordBatchBuilder builder_;
};

}  // namespace millrace
