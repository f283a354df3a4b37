// IngestConnection: appends to embedded logs by a master's Ingest service.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "adapters/api_connection.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/address.h"
#include "common/seams/ingest_store.h"

namespace millrace {

// Blocks; used by one thread.
class IngestConnection {
 public:
  explicit IngestConnection(HostPort master) : connection_(std::move(master)) {}

  // As IngestStore has them, and kUnavailable: the master is not there, did not answer or said so. The records of an
  // append may be stored then, unless nothing was sent.
  Result<int32_t> open_log(const std::string& log, int32_t partitions);
  Result<OffsetRange> append(const std::string& log, LogPartition partition, const std::vector<std::string>& values,
                             const std::vector<std::string>& keys, AppendIdentity identity);

  // Whether the last call reached a master, as far as is known.
  [[nodiscard]] bool sent() const { return connection_.sent(); }

 private:
  template <typename Answer, typename Use>
  Result<Answer> call(Use use);

  ApiConnection connection_;
};

// A producer id, which is positive, of a hash or a random number.
int64_t producer_id_of(uint64_t number);

}  // namespace millrace
