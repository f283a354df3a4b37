// Models of points, which are learned as the points come: centres of clusters, and a linear function. They depend on
// the points and their order alone, to the last bit and on every machine: what is reckoned is what IEEE 754 defines
// (+ - * / and roots), in a fixed order.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stream/codec.h"

namespace millrace {

using Point = std::vector<double>;

// How much still counts what counted 1 before so many half-lives; of a half-life of 0, which is none, all of it.
double kept_after(double points, double half_life);

// What k_means has learned.
struct Clusters {
  std::vector<Point> centres;   // in the order in which they came to be
  std::vector<double> weights;  // of each, how many points it stands for
  std::vector<Point> first;     // all points so far, while they are few
  MILLRACE_FIELDS(Clusters, centres, weights, first)

  // {"centres":[[x,...],...],"weights":[...]}
  [[nodiscard]] std::string text() const;
};

struct ClusterRules {
  size_t k;
  // Of so many points the model is the best of some batch fits, begun by k-means++ with this seed. What comes behind
  // them moves the nearest centre, batch by batch: c = (c n a + sum of its points) / (n a + m), n = n a + m, with m for
  // the number of its points, n for its weight and a for what is kept of that over all points of the batch.
  size_t first_points;
  uint64_t seed;
  double half_life;  // in points, 0: nothing is forgotten

  // The points of one batch, all of one dimension, which is that of the centres.
  void add(std::span<const Point> points, Clusters& clusters) const;
};

// What linear_regression has learned: means and central second moments of (y, x1, x2, ...).
struct Moments {
  double weight = 0;  // of how many points
  std::vector<double> means;
  std::vector<double> products;  // row by row, each from the diagonal on
  MILLRACE_FIELDS(Moments, weight, means, products)

  // `kept`: how much what is there counts from now on.
  void add(const Point& point, double kept);
  // The line of least squares as {"intercept":b,"coefficients":[...],"weight":w}. A coefficient that the points do not
  // tell, as of an x that never changes or follows from those before it, is 0.
  [[nodiscard]] std::string text() const;
};

// A model that was learned: as above, or by somebody else.
struct Model {
  std::vector<Point> centres;   // none: a linear function
  std::vector<double> weights;  // 1 where they are not said
  double intercept = 0;
  std::vector<double> coefficients;

  [[nodiscard]] size_t dimension() const { return centres.empty() ? coefficients.size() : centres.front().size(); }
  // The number of the nearest centre, from 0 (the first of several), or the value of the function.
  [[nodiscard]] double predict(const Point& point) const;
};

// Of JSON: an object with "centres", and with "weights" or without them, or one with "intercept" and "coefficients";
// other fields are passed over. The reason why it is none.
std::expected<Model, std::string> model_of(std::string_view json);

}  // namespace millrace
