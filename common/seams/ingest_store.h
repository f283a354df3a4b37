// IngestStore: where the Ingest service puts records: the logs that this cluster keeps itself.
//
// Real: the embedded log (adapters/embedded_log_store.h). Fake: in memory (tests/fakes).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace {

// Names one appending client, and its appends one after another, so that a repeated one is recognised.
struct AppendIdentity {
  int64_t producer_id = 0;  // 0: unnumbered, each append is stored; else positive
  int64_t sequence = 0;     // of the producer in one log partition, ascending, 1 to 2^46 - 1
};

// Records to append, in their order.
struct NewRecords {
  std::span<const std::string> values;
  std::span<const std::string> keys;  // as many, or empty: none has one
};

// Called on the threads of the API server. Thread-safe; calls block until their work is durable.
class IngestStore {
 public:
  virtual ~IngestStore() = default;

  // Makes the log if it is not there; returns its number of partitions, which may differ from the one asked for.
  // kInvalid: a bad name or number of partitions.
  virtual Result<int32_t> open_log(const std::string& log, int32_t partitions) = 0;

  // Appends the records in their order and returns the range of their offsets once they are durable. An identity
  // seen before is answered as the first time and not stored again. kNotFound: no such log or partition.
  // kInvalid: a sequence older than those remembered, another number of keys than of values. kIo: the disk refused;
  // nothing of it will be read.
  virtual Result<OffsetRange> append(const std::string& log, LogPartition partition, NewRecords records,
                                     AppendIdentity identity) = 0;
};

}  // namespace millrace
