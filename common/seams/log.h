// Log: where records come from: partitions of records in the order of their offsets, readable again from any
// offset that is retained. Records are Kafka record batches of version 2 (common/model/record_batch.h), the only
// form in which they exist before the map.
//
// Real: Kafka, directly (adapters/direct_kafka_log.h) or by librdkafka (adapters/kafka_log.h), the embedded log
// (adapters/embedded_log.h). Fake: an in-memory log with injected faults (tests/fakes).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace {

// Of each partition, one of its offsets.
using LogOffsets = std::map<LogPartition, Offset>;

// What a log is now. `topic_id` tells a topic from one of the same name made anew; empty where the log has none.
struct LogDescription {
  struct Partition {
    LogPartition id;
    Offset begin;               // the oldest retained
    Offset end;                 // one past the newest readable
    int32_t leader_epoch = -1;  // -1: unknown
  };
  std::string topic_id;
  std::vector<Partition> partitions;  // ascending by id; those of a topic without gap, see common/model/source_topics.h
  // Why no job may begin to read it, in one line with the remedy: it will not give the same records twice. Empty:
  // nothing is known against it.
  std::string unfit;
};

// Whether these are ids of two logs. One that is not known may be any.
inline bool is_another_topic(const std::string& one_id, const std::string& other_id) {
  return !one_id.empty() && !other_id.empty() && one_id != other_id;
}

// Consecutive whole record batches of one partition, as they were fetched. The records of interest are those
// with offsets in `range`; the first and last record batch may hold others. Releasing `bytes` gives its
// read-ahead credit back to the reader.
struct LogChunk {
  LogPartition partition;
  OffsetRange range;    // `to` is the offset to continue from
  int64_t records = 0;  // records with offsets in `range`
  SharedBuffer bytes;
};

// Called on the loop that the log was opened for. A deleted reader calls no more.
class LogReaderHandler {
 public:
  virtual ~LogReaderHandler() = default;
  // Chunks arrive in order and without gap: each range.from is the previous range.to.
  virtual void on_chunk(LogChunk chunk) = 0;
  // kUnavailable: it goes on trying, told once per change for the log of people. Anything else is final:
  // kDataLost (offset out of range, topic made anew), kInvalid (no permission), kCorrupt (checksum).
  virtual void on_log_error(LogPartition partition, const Error& error) = 0;
  // What made it kUnavailable is over, though nothing new may be there. A chunk says so, too.
  virtual void on_log_back(LogPartition /*partition*/) {}
};

// Reads one partition from an offset, without pause, until it is destroyed or (with `until`) has delivered up
// to that offset exactly: then the last chunk has range.to == until. Keeps at most `read_ahead_bytes` delivered
// and not yet released, but always at least one chunk.
class LogReader {
 public:
  virtual ~LogReader() = default;
};

struct LogReaderOptions {
  LogPartition partition;
  Offset from;
  std::optional<Offset> until;
  size_t read_ahead_bytes = 32 << 20;
};

// Lives on one loop, as its readers do.
class Log {
 public:
  virtual ~Log() = default;

  // Asks what the log is now. kNotFound: no such topic. kUnavailable, kTimeout: it could not be asked.
  virtual void describe(std::move_only_function<void(Result<LogDescription>)> done) = 0;

  // Asks where the records of a time begin: of each partition the offset of the first record whose timestamp is
  // `time_ms` (Unix milliseconds) or later; where there is none, its end. Errors as of describe().
  virtual void find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) = 0;

  [[nodiscard]] virtual std::unique_ptr<LogReader> open(const LogReaderOptions& options, LogReaderHandler* handler) = 0;

  // It will be deleted at once, and asked nothing more: what would be waited for then may end now.
  virtual void prepare_to_end() {}
};

}  // namespace millrace
