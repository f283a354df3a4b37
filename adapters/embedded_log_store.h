// EmbeddedLogStore: the logs that one process keeps for a cluster on one machine. The appending side: see
// embedded_log_partition.h for how, embedded_log_files.h for the files, embedded_log.h for the reading side.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "adapters/embedded_log_files.h"
#include "adapters/embedded_log_partition.h"
#include "common/seams/clock.h"
#include "common/seams/ingest_store.h"
#include "common/seams/random.h"

namespace millrace {

// Thread-safe.
class EmbeddedLogStore final : public IngestStore {
 public:
  static constexpr size_t kMostAppendBytes = 64 << 20;

  // Opens all logs under `root` (made if absent) and announces them. A log that does not open is told in the log of
  // people, and its error is what appends to it get. kUnavailable: another process owns the folder. kIo.
  static Result<std::unique_ptr<EmbeddedLogStore>> open(const std::filesystem::path& root,
                                                        const EmbeddedLogOptions& options, const Clock& clock,
                                                        Random& random);

  // IngestStore. The records of one append become one record batch, with the wall time as their timestamp.
  Result<int32_t> open_log(const std::string& log, int32_t partitions) override;
  Result<OffsetRange> append(const std::string& log, LogPartition partition, NewRecords records,
                             AppendIdentity identity) override;

 private:
  using Partitions = std::vector<std::unique_ptr<EmbeddedLogPartition>>;

  EmbeddedLogStore(std::filesystem::path root, const EmbeddedLogOptions& options, const Clock& clock, Random& random)
      : root_(std::move(root)), options_(options), clock_(clock), random_(random) {}

  Status lock_root();
  Status open_all();
  [[nodiscard]] size_t partitions_in_all() const;  // under mutex_
  Result<Partitions> open_partitions(const std::string& log) const;
  Result<EmbeddedLogPartition*> find(const std::string& log, LogPartition partition);

  // Constant after construction.
  const std::filesystem::path root_;
  const EmbeddedLogOptions options_;
  const Clock& clock_;  // outlives this
  FileDescriptor owner_lock_;

  // Guarded by mutex_. Logs are only added.
  std::mutex mutex_;
  Random& random_;  // outlives this
  std::map<std::string, Result<Partitions>> logs_;
};

}  // namespace millrace
