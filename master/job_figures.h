// JobFigures: what metrics tell of a job, as of one moment. Plain data, made on the master's loop by
// JobController::figures(), made text of elsewhere (cluster_metrics.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/metrics/latency_histogram.h"
#include "millrace_types.h"
#include "wire_types.h"

namespace millrace {

// How often something has happened since this master has the job.
struct JobEvents {
  int64_t assignments = 0;           // owners were told
  int64_t partitions_loaded = 0;     // state partitions that a new owner had to load and bring up to date
  int64_t executors_lost = 0;        // not those that left in order
  int64_t checkpoints = 0;           // complete
  int64_t checkpoints_failed = 0;    // by a disk, say
  int64_t checkpoints_given_up = 0;  // because owners changed
  int64_t publications = 0;          // complete
  int64_t sink_losses = 0;           // the sink lacked what it had been given
};

struct JobFigures {
  struct PartitionLag {
    std::string topic;
    int32_t partition = 0;
    int64_t records = 0;
  };
  struct Executor {
    api::ExecutorSummary summary;
    wire::ExecutorFigures told;
  };

  api::JobSummary summary;
  JobEvents events;
  int64_t newest_record_ms = 0;  // wall time of the newest record that is applied, 0: none yet, or records have no time
  std::vector<PartitionLag> lags;
  std::vector<Executor> executors;

  // Batches, or what else waits.
  int64_t in_flight = 0;       // cut and not applied by all
  int64_t not_durable = 0;     // cut and not durable
  int64_t uncheckpointed = 0;  // cut and after the newest checkpoint
  int64_t replays = 0;         // ranges of batches that are to be mapped again
  int64_t unpublished = 0;     // state partitions that the publication under way waits for
  int64_t recovering = 0;      // state partitions

  // Of the newest complete checkpoint; 0: there is none.
  int64_t checkpoint_batch = 0;
  int64_t checkpoint_ms = 0;  // wall time of its batch
  int64_t checkpoint_bytes = 0;
  int64_t checkpoint_files = 0;

  std::map<std::string, CollectedHistogram> latencies;  // what a batch came to, since its cut
  CollectedHistogram checkpoint_seconds;
  std::map<std::string, int64_t> held_us;  // by step: how long it alone held batches up
};

}  // namespace millrace
