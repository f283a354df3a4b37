// RecordWriter: appends records to one log for many who wait, each until its own records are durable.
//
// Real: IngestWriter (a master's embedded log, by Thrift), KafkaWriter. Fake: in memory (tests/fakes).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/time.h"

namespace millrace {

struct KeyedRecord {
  std::optional<std::string> key;
  std::string value;
};

struct WriteRequest {
  std::vector<KeyedRecord> records;  // at least one
  // Not empty: a request of the same key (and the same records) that comes again, also to another writer of the log, is
  // stored once and answered as the first time, as long as the log remembers it.
  std::string idempotency_key;
};

// Records of a request that lie one behind the other.
struct WrittenRange {
  LogPartition partition;
  Offset first;
  int64_t count = 0;
};

// Thread-safe.
class RecordWriter {
 public:
  using Done = std::move_only_function<void(Result<std::vector<WrittenRange>>)>;

  // Gives up what is under way: its done() says that the outcome is not known.
  virtual ~RecordWriter() = default;

  // Returns at once. done() is called once, by a thread of the writer or in this call, when all records are durable,
  // or:
  //   kUnavailable  as much is under way as may be, or the log is away; nothing is stored
  //   kTimeout      the log did not answer in time: the records may be stored, or some of them
  //   kInvalid      the log does not take such records; others: it cannot. Some may be stored, and the message says so
  virtual void write(WriteRequest request, Done done) = 0;

  struct Health {
    std::string problem;     // what is in the way, with cause, place and remedy; empty: nothing
    Duration oldest_wait{};  // of the requests that are under way
  };
  [[nodiscard]] virtual Health health() const = 0;
};

}  // namespace millrace
