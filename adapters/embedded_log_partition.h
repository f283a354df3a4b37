// EmbeddedLogPartition: the appending side of one partition of an embedded log.
//
// Appends of many threads are committed in groups: whoever comes first writes and syncs for all who wait, so that
// one sync serves them together. An append is answered when its batch is durable and announced.
//
// After a failed write the file is cut back to its durable bytes; after a failed sync it is left alone for ever
// and a new segment begun, since the kernel may have dropped what it could not write. Nothing that was not
// answered with success is announced.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "adapters/embedded_log_files.h"
#include "adapters/embedded_log_producers.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/time.h"
#include "common/seams/clock.h"

namespace millrace {

struct EmbeddedLogOptions {
  uint64_t segment_bytes = uint64_t{128} << 20;
  // Whole old segments are removed while the partition is larger, or when their newest record is older. Looked at
  // when a segment begins and when the log is opened. 0: never.
  uint64_t retention_bytes = 0;
  Duration retention_age{0};
  size_t most_partitions = 4096;  // of all logs together, each with an open file
};

// Thread-safe.
class EmbeddedLogPartition {
 public:
  // Cuts off a torn tail, restores what is known of producers, makes everything durable and announces it.
  // kCorrupt: bytes that were announced do not verify. kIo.
  static Result<std::unique_ptr<EmbeddedLogPartition>> open(std::filesystem::path folder, LogPartition partition,
                                                            const EmbeddedLogOptions& options, const Clock& clock,
                                                            std::shared_ptr<Announcement> announcement);

  // Appends one record batch that was built with base offset 0 and the identity's stamp; returns once it is durable.
  Result<OffsetRange> append(std::string batch, int32_t records, AppendIdentity identity);

 private:
  struct Append {
    std::string batch;
    int32_t records;
    AppendIdentity identity;
    OffsetRange range;
    Status status;
    bool done = false;
  };
  using Group = std::vector<std::shared_ptr<Append>>;
  struct Segment {
    Offset base;
    uint64_t bytes = 0;
    int64_t newest_ms = 0;  // timestamp of its newest record
  };

  EmbeddedLogPartition(std::filesystem::path folder, LogPartition partition, const EmbeddedLogOptions& options,
                       const Clock& clock, std::shared_ptr<Announcement> announcement);

  Status recover();
  Status check_durable_end(const std::filesystem::path& place) const;
  Status restore_producers(const std::vector<Offset>& segments);
  // Adds the numbered appends of a segment to the table. Returns its whole bytes; sets end_ to the end offset.
  Result<uint64_t> scan(Offset base, bool verify);

  Group take_group();                 // under mutex_
  Status commit(const Group& group);  // by the one committer
  Status begin_segment();
  Status begin_segment_if_needed(uint64_t bytes);
  void write_failed(bool in_sync);
  void save_producers() const;
  void remove_old_segments();
  void announce();

  // Constant after construction.
  const std::filesystem::path folder_;
  const LogPartition partition_;
  const EmbeddedLogOptions options_;
  const Clock& clock_;  // outlives this
  const std::shared_ptr<Announcement> announcement_;

  // Guarded by mutex_.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Append>> waiting_;
  std::set<std::pair<int64_t, int64_t>> under_way_;  // numbered appends that wait or are being committed
  bool committing_ = false;

  // Owned by the committer: who has set committing_. The table is also read under mutex_ while nobody commits to it:
  // it is changed under mutex_ only.
  ProducerTable producers_;
  FileDescriptor file_;
  std::deque<Segment> segments_;  // the last one is active
  Offset end_;
  bool must_begin_segment_ = false;
};

}  // namespace millrace
