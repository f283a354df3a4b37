// IngestConnection: appends to embedded logs by a master's Ingest service. Connects when it is first needed, and anew
// after the connection broke.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/address.h"
#include "common/seams/ingest_store.h"

namespace millrace {

// Blocks; used by one thread.
class IngestConnection {
 public:
  explicit IngestConnection(HostPort master);
  ~IngestConnection();
  IngestConnection(const IngestConnection&) = delete;
  IngestConnection& operator=(const IngestConnection&) = delete;

  // As IngestStore has them, and kUnavailable: the master is not there, did not answer or said so. The records of an
  // append may be stored then, unless nothing was sent.
  Result<int32_t> open_log(const std::string& log, int32_t partitions);
  Result<OffsetRange> append(const std::string& log, LogPartition partition, const std::vector<std::string>& values,
                             const std::vector<std::string>& keys, AppendIdentity identity);

  // Whether the last call reached a master, as far as is known.
  [[nodiscard]] bool sent() const { return sent_; }

 private:
  struct Transport;

  template <typename Answer, typename Use>
  Result<Answer> call(Use use);

  const HostPort master_;
  std::unique_ptr<Transport> transport_;  // null: not connected
  bool sent_ = false;
};

// A producer id, which is positive, of a hash or a random number.
int64_t producer_id_of(uint64_t number);

}  // namespace millrace
