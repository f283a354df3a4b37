// JobStore: the master's durable records, typed: epoch, registry of jobs, batch log, totals, assignments, dead letters.
//
// Keys, all text; numbers are 16 hex digits so that their order is that of the bytes:
//   epoch                                  the last epoch that began
//   job/NAME                               JobRecord
//   batch/JOB/BATCH                        BatchRecord
//   totals/JOB/BATCH                       BatchTotals
//   assignment/JOB                         AssignmentRecord
//   letter/JOB/PARTITION/OFFSET            DeadLetter
//   killed/JOB                             the name of a job that was killed, until nothing is left of it
// Values are framed by common/wire/codec.h (format byte, checksum): a damaged one is kCorrupt with its key.
//
// Lives on the master's loop.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/seams/log.h"
#include "common/seams/metadata_store.h"
#include "wire_types.h"

namespace millrace {

class JobStore {
 public:
  explicit JobStore(MetadataStore& store) : store_(store) {}

  Result<Epoch> read_epoch();
  Result<std::vector<wire::JobRecord>> read_jobs();
  // All kept records after `after`, ascending and without gap; kCorrupt names a gap.
  Result<std::vector<wire::BatchRecord>> read_batches(JobId job, BatchId after);
  // Totals after `after`, as far as they are stored.
  Result<std::vector<wire::BatchTotals>> read_totals(JobId job, BatchId after);
  Result<std::optional<wire::AssignmentRecord>> read_assignment(JobId job);
  Result<std::vector<std::pair<JobId, std::string>>> read_killed();
  // From (partition, offset) on, at most `limit`.
  Result<std::vector<wire::DeadLetter>> read_letters(JobId job, LogPartition partition, Offset offset, size_t limit);

  static void put_epoch(WriteSet& set, Epoch epoch);
  static void put_job(WriteSet& set, const wire::JobRecord& job);
  static void remove_job(WriteSet& set, const std::string& name);
  static void put_killed(WriteSet& set, JobId job, const std::string& name);
  static void remove_killed(WriteSet& set, JobId job);
  static void put_batch(WriteSet& set, JobId job, const wire::BatchRecord& record);
  static void put_totals(WriteSet& set, JobId job, const wire::BatchTotals& totals);
  static void put_assignment(WriteSet& set, JobId job, const wire::AssignmentRecord& record);
  static void put_letter(WriteSet& set, JobId job, const wire::DeadLetter& letter);
  // Batch records of batches in (after, up_to]. The totals of `up_to` stay, until a later call begins after it: they
  // are what a stopped job can show.
  static void remove_batches(WriteSet& set, JobId job, BatchId after, BatchId up_to);
  // Batch records and totals after `batch`, and dead letters at or after the offsets.
  Status remove_beyond(WriteSet& set, JobId job, BatchId batch, const LogOffsets& offsets);
  // Everything of a job but its registry entry.
  Status remove_all(WriteSet& set, JobId job);

  void commit(WriteSet set, std::move_only_function<void(Status)> done) {
    store_.commit(std::move(set), std::move(done));
  }

 private:
  MetadataStore& store_;  // outlives this
};

}  // namespace millrace
