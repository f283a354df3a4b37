// Cutter: decides which offsets the next batch takes of each log partition. It knows how far the owners of the log
// partitions have read ahead (boundaries) and cuts only there, so that a map never waits for a fetch.
//
// Invariant 1 lives here: ranges of one partition tile its offsets, because each begins where the last one ended.
// Plain data of the master's loop.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "common/base/ids.h"

namespace millrace {

// What one log partition gives to a batch.
struct CutRange {
  LogPartition partition;
  OffsetRange range;
  int64_t records = 0;
  int64_t bytes = 0;
};

class Cutter {
 public:
  // Adds a partition whose next record to plan is at `next`.
  void add_partition(LogPartition partition, Offset next);
  // The reader of a partition starts anew, at the next offset to plan: what was announced before is void.
  void restart_reader(LogPartition partition);
  // A reader that began at `reader_from` has come to `to` and has read `records` and `bytes` since. Announcements of an
  // earlier reader are ignored, and so are repeats.
  void announce(LogPartition partition, Offset reader_from, Offset to, int64_t records, int64_t bytes = 0);

  // True if a cut would give records.
  [[nodiscard]] bool has_records() const;
  // What was read of the partition and is in no batch yet.
  [[nodiscard]] int64_t waiting_bytes(LogPartition partition) const;
  // Takes what is announced, per partition at most `max_records` (but at least one boundary), and moves on.
  std::vector<CutRange> cut(int64_t max_records_per_partition);

  [[nodiscard]] Offset next_offset(LogPartition partition) const;
  [[nodiscard]] std::vector<LogPartition> partitions() const;

 private:
  struct Boundary {
    Offset to;
    int64_t records;  // since reader_from
    int64_t bytes;    // since reader_from
  };
  struct Partition {
    Offset next;                      // first offset that is in no batch
    Offset reader_from;               // where the present reader began
    int64_t planned = 0;              // records since reader_from that are in batches
    int64_t planned_bytes = 0;        // the same in bytes
    std::deque<Boundary> boundaries;  // beyond `next`, ascending
  };
  std::map<LogPartition, Partition> partitions_;
};

}  // namespace millrace
