// Renewal: a job on its way to a new incarnation, back to a checkpoint or on by other code. What it needs to go on is
// looked for before anything is given up; then one commit makes the one of the other.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/model/state_changes.h"
#include "common/seams/log.h"
#include "master/control_service.h"

namespace millrace {

struct ControlService::Renewal {
  wire::JobRecord before;
  wire::JobRecord after;
  std::optional<wire::CheckpointRef> checkpoint;  // that it begins with; none: where the job began
  wire::Manifest manifest;                        // of that, or the job's first offsets
  std::string library;                            // the bytes of after's, where it is to be stored
  std::vector<std::string> may_drop;              // states; none where the code stays that of the checkpoint
  std::unique_ptr<Log> log;
  std::string what;  // it does not, if nothing comes of this
  Done<api::JobSummary> done;

  [[nodiscard]] JobId id() const { return job_of(before.job); }
  [[nodiscard]] const std::string& name() const { return before.spec.name; }
};

inline bool is_at_rest(const JobController& job) {
  return job.phase() == JobController::Phase::kStopped || job.phase() == JobController::Phase::kFailed;
}

// What becomes of the states of this checkpoint. kInvalid: nothing can be made of them.
Result<std::vector<StateChange>> changes_from(const wire::Manifest& manifest, const wire::JobSpec& spec);

}  // namespace millrace
