// One submit under way. Included by control_*.cc only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/model/start_at.h"
#include "master/control_service.h"

namespace millrace {

struct ControlService::Submission {
  wire::JobRecord record;
  StartAt start;
  std::unique_ptr<Log> log;
  std::unique_ptr<Sink> sink;
  std::vector<std::unique_ptr<Output>> outputs;  // that have a place
  std::string library;                           // the bytes
  bool stands_among_killed = false;
  bool outputs_claimed = false;  // or about to be
  MonotonicTime described_first;
  int tries = 0;  // of claiming the sink, and of releasing it
  MonotonicTime claimed_first;
  Done<api::JobSummary> done;

  [[nodiscard]] JobId id() const { return job_of(record.job); }
  [[nodiscard]] SinkIdentity sink_identity() const {
    return {record.spec.name, id(), Incarnation(record.incarnation), plan_from(record.spec.plan).tables};
  }
};

// kInvalid: they are none.
Status check_output_plans(const JobPlan& plan);
// For people.
std::string allowed_folders(const std::vector<std::string>& folders);

}  // namespace millrace
