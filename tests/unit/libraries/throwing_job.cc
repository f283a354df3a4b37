#include <stdexcept>

#include "millrace/job.h"

MILLRACE_JOB(throws, "a job that is none") {
  job.lines().count_by_value().publish("counts");
  throw std::runtime_error("no luck");
}
