// What the master tells Prometheus of the cluster: a pure function of figures. docs/operations.md says what they mean.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "master/job_figures.h"

namespace millrace {

struct ClusterFigures {
  int64_t epoch = 0;
  int64_t workers_ready = 0;
  int64_t workers_draining = 0;
  int64_t executors_ready = 0;
  int64_t executors_starting = 0;
  int64_t messages_bytes = 0;    // of the master, not acknowledged
  std::vector<JobFigures> jobs;  // with different names
};

// In Prometheus' text format.
std::string cluster_metrics_text(const ClusterFigures& cluster);

}  // namespace millrace
