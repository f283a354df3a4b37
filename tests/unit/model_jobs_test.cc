// The built-in jobs that learn models of points, and the one that applies them. What they are compared with is fitted
// here, to all points at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "jobs/models.h"
#include "millrace/testing.h"

extern const millrace::JobDefinition millrace_job_k_means;
extern const millrace::JobDefinition millrace_job_linear_regression;
extern const millrace::JobDefinition millrace_job_score;

namespace millrace {
namespace {

using millrace::testing::Options;
using millrace::testing::TestJob;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pointwise;

// The same on every machine, about normal.
class Noise {
 public:
  double next() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(random_() >> 11) * 0x1p-53;
    return sum;
  }

 private:
  std::mt19937_64 random_{7};
};

std::string line_of(const Point& point) {
  std::string line;
  for (const double number : point) line += (line.empty() ? "" : ", ") + text_of(number);
  return line;
}

// Around (0, 0), (distance, 0) and (0, distance) in turn.
std::vector<Point> three_clusters(double distance, size_t size) {
  Noise noise;
  std::vector<Point> points;
  for (size_t i = 0; i < size; ++i) {
    points.push_back({(i % 3 == 1 ? distance : 0) + noise.next(), (i % 3 == 2 ? distance : 0) + noise.next()});
  }
  return points;
}

// Lloyd's rounds until nothing changes.
std::vector<Point> batch_fit(const std::vector<Point>& points, Model model) {
  for (std::vector<Point> before; before != model.centres;) {
    before = model.centres;
    std::vector<Point> sums(before.size(), Point(points.front().size()));
    std::vector<double> counts(before.size());
    for (const Point& point : points) {
      const auto centre = static_cast<size_t>(model.predict(point));
      counts[centre] += 1;
      for (size_t i = 0; i < point.size(); ++i) sums[centre][i] += point[i];
    }
    for (size_t centre = 0; centre < sums.size(); ++centre) {
      for (size_t i = 0; i < sums[centre].size(); ++i) model.centres[centre][i] = sums[centre][i] / counts[centre];
    }
  }
  std::ranges::sort(model.centres);
  return model.centres;
}

// In batches of `batch`, from two partitions of the log, with what a worker holds lost now and then.
std::string learned(const JobDefinition& definition, const std::vector<Point>& points, Options options, size_t batch,
                    int32_t partitions = 2) {
  TestJob job(definition, std::move(options));
  for (size_t i = 0; i < points.size(); ++i) {
    job.push(line_of(points[i]), static_cast<int32_t>(i) % partitions);
    if ((i + 1) % batch != 0) continue;
    job.run_batch();
    if (i % 5 == 0) job.checkpoint();
    if (i % 7 == 0) job.crash();
  }
  job.run_batch();
  job.crash();
  EXPECT_EQ(job.table().size(), 1U);
  return job.get("model").value();
}

double distance_of_fits(const std::vector<Point>& points, const std::string& text) {
  std::vector<Point> centres = model_of(text).value().centres;
  std::ranges::sort(centres);
  const double far = points[1][0];
  const std::vector<Point> fit = batch_fit(points, {.centres = {{0, 0}, {far, 0}, {0, far}}});
  double distance = 0;
  for (size_t i = 0; i < fit.size(); ++i) {
    distance = std::max(distance, std::hypot(fit[i][0] - centres[i][0], fit[i][1] - centres[i][1]));
  }
  return distance;
}

TEST(KMeans, comes_to_the_batch_fit) {
  const Options options{.settings = {{"k", "3"}, {"first", "50"}}};
  // Of standard deviation 1. Far apart, each point finds its cluster whenever it comes.
  const std::vector<Point> apart = three_clusters(20, 3000);
  EXPECT_LE(distance_of_fits(apart, learned(millrace_job_k_means, apart, options, 100)), 1e-12);
  const std::vector<Point> near = three_clusters(4, 3000);
  EXPECT_LE(distance_of_fits(near, learned(millrace_job_k_means, near, options, 100)), 0.01);
}

TEST(Models, are_the_same_to_the_last_bit_however_the_work_is_spread) {
  const std::vector<Point> points = three_clusters(3, 300);
  for (const JobDefinition* job : {&millrace_job_k_means, &millrace_job_linear_regression}) {
    const Options whole{.settings = {{"half-life", "100"}}};
    Options spread = whole;
    spread.state_partitions = 1;
    spread.piece_records = 3;
    EXPECT_EQ(learned(*job, points, whole, 20), learned(*job, points, spread, 20));
  }
}

TEST(KMeans, has_a_model_from_the_first_point_on) {
  TestJob job(millrace_job_k_means, {.settings = {{"dimension", "1"}, {"first", "3"}}});
  job.push("5");
  job.push("5");
  job.push("5 6");
  job.push("5 x");
  job.run_batch();
  EXPECT_EQ(job.get("model"), R"({"centres":[[5]],"weights":[2]})");
  job.checkpoint();
  job.push("5");
  job.run_batch();
  job.crash();
  job.push("9");  // the second centre; there was no other point when the first three were fitted
  job.push("10");
  job.run_batch();
  EXPECT_EQ(job.get("model"), R"({"centres":[[5],[9.5]],"weights":[3,2]})");
  ASSERT_EQ(job.dead_letters().size(), 2U);
  EXPECT_EQ(job.dead_letters()[0].reason, "numbers: 2, not 1");
  EXPECT_EQ(job.dead_letters()[1].reason, "'x' is no number from -1e100 to 1e100");
}

TEST(KMeans, forgets_by_half_lives_and_begins_with_a_model) {
  TestJob job(
      millrace_job_k_means,
      {.settings = {{"dimension", "1"}, {"half-life", "2"}, {"model", R"({"centres":[[0],[-9]],"weights":[4,8]})"}}});
  job.push("3");
  job.push("3");
  job.run_batch();
  EXPECT_EQ(job.get("model"), R"({"centres":[[1.5],[-9]],"weights":[4,4]})");
}

TEST(KMeans, a_centre_without_points_comes_to_where_they_are) {
  const ClusterRules rules{.k = 2, .first_points = 1, .seed = 1, .half_life = 1};
  Clusters clusters{{{0}, {100}}, {1, 1}, {}};
  rules.add(std::vector<Point>(40, {100}), clusters);
  EXPECT_THAT(clusters.weights, ElementsAre(clusters.weights[1], clusters.weights[0]));
  EXPECT_GT(clusters.weights[0], 20);
  rules.add(std::vector<Point>{{98}, {102}, {102}}, clusters);
  EXPECT_NEAR(clusters.centres[0][0], (2.5 * 100 + 98) / 3.5, 1e-9);  // an eighth of 20 is kept
  EXPECT_NEAR(clusters.centres[1][0], (2.5 * 100 + 204) / 4.5, 1e-9);
}

TEST(Models, halve_what_is_as_old_as_a_half_life) {
  EXPECT_EQ(kept_after(12345, 0), 1);
  EXPECT_EQ(kept_after(0, 7), 1);
  EXPECT_EQ(kept_after(7, 7), 0.5);
  EXPECT_EQ(kept_after(21, 7), 0.125);
  EXPECT_EQ(kept_after(1e15, 1), 0);
  for (const double points : {1.0, 2.5, 6.999, 1e-9}) {
    EXPECT_NEAR(kept_after(points, 7), std::exp2(-points / 7), 1e-15);
  }
}

// (intercept, coefficients...) by the normal equations of all points, the newest counting 1.
std::vector<double> batch_line(const std::vector<Point>& points, double half_life) {
  const size_t size = points.front().size();
  std::vector<std::vector<long double>> rows(size, std::vector<long double>(size + 1));
  for (size_t i = 0; i < points.size(); ++i) {
    const long double age = static_cast<long double>(points.size() - 1 - i);
    const long double counts = half_life == 0 ? 1 : std::exp2(-age / static_cast<long double>(half_life));
    const auto x = [&](size_t column) -> long double { return column == 0 ? 1 : points[i][column]; };
    for (size_t row = 0; row < size; ++row) {
      for (size_t column = 0; column < size; ++column) rows[row][column] += counts * x(row) * x(column);
      rows[row][size] += counts * x(row) * static_cast<long double>(points[i][0]);
    }
  }
  for (size_t pivot = 0; pivot < size; ++pivot) {
    for (size_t row = 0; row < size; ++row) {
      if (row == pivot) continue;
      const long double factor = rows[row][pivot] / rows[pivot][pivot];
      for (size_t column = 0; column <= size; ++column) rows[row][column] -= factor * rows[pivot][column];
    }
  }
  std::vector<double> line;
  for (size_t row = 0; row < size; ++row) line.push_back(static_cast<double>(rows[row][size] / rows[row][row]));
  return line;
}

TEST(LinearRegression, comes_to_the_batch_fit) {
  Noise noise;
  std::vector<Point> points;
  for (int i = 0; i < 500; ++i) {
    const Point x{1e4 + noise.next(), 10 * noise.next(), static_cast<double>(i)};
    points.push_back({3 + 2 * x[0] - 0.5 * x[1] + 0.01 * x[2] + noise.next(), x[0], x[1], x[2]});
  }
  for (const std::string half_life : {"0", "50"}) {
    const Options options{.settings = {{"dimension", "3"}, {"half-life", half_life}}};
    const std::string text = learned(millrace_job_linear_regression, points, options, 20, 1);
    const Model model = model_of(text).value();
    const std::vector<double> batch = batch_line(points, std::stod(half_life));
    EXPECT_NEAR(model.intercept, batch[0], 1e-6);  // the x1 are far from 0
    EXPECT_THAT(model.coefficients, Pointwise(DoubleNear(1e-9), {batch[1], batch[2], batch[3]}));
    // Of one partition the points stand in one order, wherever batches are cut.
    EXPECT_EQ(learned(millrace_job_linear_regression, points, options, 7, 1), text);
  }
}

TEST(LinearRegression, what_the_points_do_not_tell_is_0) {
  TestJob job(millrace_job_linear_regression, {.settings = {{"dimension", "3"}}});
  job.push("4 1 2 7");
  job.run_batch();
  EXPECT_EQ(job.get("model"), R"({"intercept":4,"coefficients":[0,0,0],"weight":1})");
  job.push("6 2 4 7");
  job.push("8 3 6 7");
  job.run_batch();
  EXPECT_EQ(job.get("model"), R"({"intercept":2,"coefficients":[2,0,0],"weight":3})");
}

TEST(Score, says_what_a_model_of_here_or_elsewhere_predicts) {
  TestJob line(millrace_job_score, {.settings = {{"model", R"({"by": "R", "intercept":1,"coefficients":[2,-0.5]})"}}});
  line.push("1 2");
  line.push("1");
  line.push("0.25,\t0");
  line.run_batch();
  line.checkpoint();
  line.push("0 0");
  line.run_batch();
  line.crash();
  EXPECT_THAT(line.lines("predictions"),
              ElementsAre(R"({"record":"1 2","prediction":2})", R"({"record":"0.25,\t0","prediction":1.5})",
                          R"({"record":"0 0","prediction":1})"));
  EXPECT_EQ(line.dead_letters().size(), 1U);

  const std::string centres =
      learned(millrace_job_k_means, {{0}, {1}, {9}}, {.settings = {{"dimension", "1"}, {"k", "2"}}}, 1);
  TestJob nearest(millrace_job_score, {.settings = {{"model", centres}}});
  nearest.push("8");
  nearest.push("-1");
  nearest.run_batch();
  const Model model = model_of(centres).value();
  EXPECT_THAT(nearest.lines("predictions"),
              ElementsAre(R"({"record":"8","prediction":)" + text_of(model.predict({8})) + "}",
                          R"({"record":"-1","prediction":)" + text_of(1 - model.predict({8})) + "}"));
}

TEST(Models, that_are_none_are_refused_with_the_reason) {
  const auto error_of = [](const JobDefinition& definition, const std::string& model) {
    JobContext context;
    if (!model.empty()) context.settings["model"] = model;
    const auto job = make_job(definition, context);
    return job ? "" : job.error().message;
  };
  EXPECT_THAT(error_of(millrace_job_score, ""), HasSubstr("setting 'model' must be given; its settings: model="));
  EXPECT_THAT(error_of(millrace_job_score, "7"), HasSubstr("setting 'model': no JSON object"));
  EXPECT_THAT(error_of(millrace_job_score, R"({"coefficients":[1]})"), HasSubstr("neither 'centres' nor"));
  EXPECT_THAT(error_of(millrace_job_score, R"({"coefficients":["a"],"intercept":0})"), HasSubstr("neither 'centres'"));
  EXPECT_THAT(error_of(millrace_job_score, R"({"centres":[]})"), HasSubstr("no centre"));
  EXPECT_THAT(error_of(millrace_job_score, R"({"centres":[[1],[2,3]]})"), HasSubstr("all of one length"));
  EXPECT_THAT(error_of(millrace_job_score, R"({"centres":[[1],[2]],"weights":[1]})"), HasSubstr("one for each centre"));
  EXPECT_THAT(error_of(millrace_job_k_means, R"({"centres":[[1],[2]]})"), HasSubstr("'model' has not 1 to k centres"));
  EXPECT_EQ(error_of(millrace_job_k_means, R"({"centres":[[1,2]]})"), "");
}

}  // namespace
}  // namespace millrace
