// Output: where a job appends what its batches bring (files, Kafka, a function of its own), each batch of a part once.
//
// What a batch appends to a part follows from the batch log alone, so after a recovery it comes again with the same
// bytes. Whoever keeps records remembers, in one step with them, which batch it has come to, and does not append again
// what is there. It also keeps older owners out: where a younger generation of the part has been, an older one is
// refused. Nothing can be taken back, so a job that appends does not go back to a checkpoint: a batch is one for ever.
// The job remembers, too: a batch says which one came before it, so that a place that has forgotten is noticed.
//
// Real: adapters/open_output.h. Fake: what was appended, with injected faults.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/job_plan.h"

namespace millrace {

// What a batch brings for one part of an output, in the order that the output's plan promises.
struct OutputBatch {
  int32_t part = 0;
  Generation generation;  // of the part's owner
  BatchId batch;
  int64_t time_ms = 0;
  int64_t records = 0;
  std::shared_ptr<const std::string> bytes;  // as common/model/output_lines.h, or as the job's function knows them
  BatchId previous;                          // the part's batch that had records before this one; 0: there was none
};

// A job's own function, as the engine calls it: at least once per batch and part that has records. Used by one thread.
class BatchFunction {
 public:
  virtual ~BatchFunction() = default;
  // kInvalid: it has thrown.
  virtual Status call(const OutputBatch& batch) = 0;
};

struct OutputTarget {
  std::string job_name;
  JobId job;
  OutputPlan plan;
  std::string uri;  // empty: where the program shows things
  std::map<std::string, std::string> config;
  std::function<std::unique_ptr<BatchFunction>()> make_function;  // of a plan without a format
};

// Lives on one loop; the work is done elsewhere, and `done` is called on the loop. Errors: kInvalid is final, all
// others are for the caller to try again after a pause; kFenced: a younger owner of the part has been there.
class Output {
 public:
  using Done = std::move_only_function<void(Status)>;

  virtual ~Output() = default;
  // For a new job: the place is fit, and this job's alone from here on. kExists: it holds another job's records.
  virtual void claim(Done done) = 0;
  // Takes a claim back that nothing has followed.
  virtual void release(Done done) = 0;
  // This owner has the part now; said again from time to time as long as it has it, for places that forget what nobody
  // comes to. Nothing depends on its success.
  virtual void enter(int32_t part, Generation generation, Done done) = 0;
  // Batches of a part ascending, each when the one before is done.
  virtual void append(OutputBatch batch, Done done) = 0;
};

}  // namespace millrace
