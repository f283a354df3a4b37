// Clusters of points, batch by batch, as Spark's StreamingKMeans learns them.
#include "jobs/models.h"
#include "jobs/numbers.h"
#include "millrace/job.h"
#include "stream/job_error.h"

MILLRACE_JOB(k_means, "the centres of clusters of points, which are lines of numbers, as they come") {
  using millrace::Point;
  const auto k = static_cast<size_t>(job.number("k", 2, 1, 100, "centres"));
  const auto dimension = static_cast<size_t>(job.number("dimension", 2, 1, 100, "numbers of a point"));
  const millrace::ClusterRules rules{
      k,
      static_cast<size_t>(job.number("first", 500, 1, 1000, "so many points are fitted together; later ones move it")),
      static_cast<uint64_t>(job.number("seed", 1, 0, 1'000'000'000, "of the draws with which that fit begins")),
      static_cast<double>(job.number("half-life", 0, 0, 1'000'000'000'000,
                                     "a point counts half as much when so many have come after it; 0: as much"))};
  const std::string given =
      job.setting("model", "", "what it begins with, as `score` takes it; empty: the first points");
  millrace::Clusters begin;
  if (!given.empty()) {
    auto model = millrace::model_of(given);
    if (!model) throw millrace::JobError("setting 'model': " + model.error());
    if (model->centres.empty() || model->centres.size() > k || model->dimension() != dimension) {
      throw millrace::JobError("setting 'model' has not 1 to k centres of `dimension` numbers");
    }
    begin = {std::move(model->centres), std::move(model->weights), {}};
  }
  job.lines()
      .map([dimension](std::string_view line) { return millrace::numbers_of(line, dimension); })
      .key_by([](const Point&) { return std::string_view("model"); })
      .update_state_by_key<millrace::Clusters>(
          [rules, begin](std::span<const Point> points, std::optional<millrace::Clusters> clusters) {
            if (!clusters) clusters = begin;
            rules.add(points, *clusters);
            return clusters;
          },
          // Another k or dimension is another state, so that an upgrade says that it begins anew.
          {.name = std::to_string(k) + " centres of " + std::to_string(dimension) + " numbers", .only_changed = true})
      .publish("model");
}
