// Answers to Fetch as a Kafka broker sends them; adapters/kafka_messages.h has their layout.
#pragma once

#include <string>
#include <vector>

#include "adapters/kafka_messages.h"
#include "adapters/kafka_wire.h"

namespace millrace {

struct FetchFrame {
  int32_t throttle_ms = 0;
  int16_t error = 0;  // of the whole
  bool has_partition = true;
  KafkaTopicId topic;
  LogPartition partition{0};
  int16_t partition_error = 0;
  std::vector<AbortedTransaction> aborted;
  int32_t preferred_replica = -1;
  std::string records;
  std::optional<DivergingEpoch> diverging;
};

inline void write_partition(WireWriter& writer, const FetchFrame& frame) {
  writer.bytes({frame.topic.bytes.data(), frame.topic.bytes.size()});
  writer.compact_size(1);
  writer.integer(frame.partition.value());
  writer.integer(frame.partition_error);
  for (int offset = 0; offset < 3; ++offset) writer.integer(int64_t{0});  // nobody reads them
  writer.compact_size(frame.aborted.size());
  for (const AbortedTransaction& aborted : frame.aborted) {
    writer.integer(aborted.producer_id);
    writer.integer(aborted.first.value());
    writer.no_tags();
  }
  writer.integer(frame.preferred_replica);
  writer.compact_string(frame.records);
  if (frame.diverging) {
    writer.uvarint(1);
    writer.uvarint(0);
    writer.uvarint(sizeof(int32_t) + sizeof(int64_t) + 1);
    writer.integer(frame.diverging->epoch);
    writer.integer(frame.diverging->end.value());
  }
  writer.no_tags();  // of the diverging epoch, else of the partition
  writer.no_tags();  // of the topic
}

inline std::string to_bytes(const FetchFrame& frame, int32_t correlation) {
  WireWriter writer;
  writer.integer(correlation);
  writer.no_tags();
  writer.integer(frame.throttle_ms);
  writer.integer(frame.error);
  writer.integer(int32_t{0});  // session
  writer.compact_size(frame.has_partition ? 1 : 0);
  if (frame.has_partition) write_partition(writer, frame);
  writer.no_tags();
  return writer.finish();
}

}  // namespace millrace
