// What a model says of points: one that k_means or linear_regression has learned, or another program.
#include "jobs/models.h"
#include "jobs/numbers.h"
#include "millrace/job.h"
#include "stream/job_error.h"

namespace millrace {
namespace {

struct Scored {
  std::string_view record;
  double prediction;
  MILLRACE_FIELDS(Scored, record, prediction)
};

}  // namespace
}  // namespace millrace

MILLRACE_JOB(score, "what a model predicts of points, which are lines of numbers, to its output `predictions`") {
  const std::string given =
      job.required("model",
                   "as k_means and linear_regression publish it: {\"centres\":[[x,...],...]}: the number of the "
                   "nearest, from 0; {\"intercept\":b,\"coefficients\":[...]}: the value");
  if (given.empty()) return;
  const auto model = millrace::model_of(given);
  if (!model) throw millrace::JobError("setting 'model': " + model.error());
  job.lines()
      .map([model = *model](std::string_view line) -> std::expected<millrace::Scored, std::string> {
        const auto point = millrace::numbers_of(line, model.dimension());
        if (!point) return std::unexpected(point.error());
        return millrace::Scored{line, model.predict(*point)};
      })
      .write("predictions", millrace::json_lines);
}
