#include "jobs/models.h"

#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <utility>

namespace millrace {
namespace {

double squared_distance(const Point& a, const Point& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

struct Nearest {
  size_t centre = 0;
  double squared = std::numeric_limits<double>::infinity();
};
Nearest nearest_of(const std::vector<Point>& centres, const Point& point) {
  Nearest nearest;
  for (size_t i = 0; i < centres.size(); ++i) {
    const double squared = squared_distance(centres[i], point);
    if (squared < nearest.squared) nearest = {i, squared};
  }
  return nearest;
}

// Moves each centre to the points that are nearest to it, and to what is kept of its weight. Gives the sum of the
// points' squared distances from where the centres were.
double move_centres(std::span<const Point> points, double kept, Clusters& clusters) {
  auto& [centres, weights, first] = clusters;
  std::vector<Point> sums(centres.size(), Point(points.front().size()));
  std::vector<double> counts(centres.size());
  double cost = 0;
  for (const Point& point : points) {
    const Nearest nearest = nearest_of(centres, point);
    cost += nearest.squared;
    counts[nearest.centre] += 1;
    for (size_t i = 0; i < point.size(); ++i) sums[nearest.centre][i] += point[i];
  }
  for (size_t each = 0; each < centres.size(); ++each) {
    weights[each] *= kept;
    if (counts[each] == 0) continue;
    weights[each] += counts[each];
    const double share = counts[each] / weights[each];
    for (size_t i = 0; i < sums[each].size(); ++i) {
      centres[each][i] = centres[each][i] * (1 - share) + sums[each][i] / counts[each] * share;
    }
  }
  return cost;
}

// k-means++: each centre is a point drawn by its squared distance from those before it. Fewer than k where there are
// fewer different points.
std::vector<Point> drawn_centres(const std::vector<Point>& points, size_t k, std::mt19937_64& random) {
  std::vector<Point> centres;
  std::vector<double> squared(points.size(), 1);
  while (centres.size() < k) {
    double sum = 0;
    for (const double each : squared) sum += each;
    if (sum == 0) break;
    double left = static_cast<double>(random() >> 11) * 0x1p-53 * sum;
    size_t drawn = points.size();
    for (size_t i = 0; i < points.size() && left >= 0; ++i) {
      if (squared[i] == 0) continue;
      drawn = i;
      left -= squared[i];
    }
    centres.push_back(points[drawn]);
    for (size_t i = 0; i < points.size(); ++i) {
      const double distance = squared_distance(points[i], centres.back());
      squared[i] = centres.size() == 1 ? distance : std::min(squared[i], distance);
    }
  }
  return centres;
}

// The best of some batch fits.
void fit_first(size_t k, uint64_t seed, Clusters& clusters) {
  constexpr int kTries = 5;
  constexpr int kMostRounds = 20;
  std::mt19937_64 random(seed);
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTries; ++i) {
    Clusters tried{drawn_centres(clusters.first, k, random), {}, {}};
    tried.weights.resize(tried.centres.size());
    double cost = std::numeric_limits<double>::infinity();
    for (int round = 0; round < kMostRounds; ++round) {
      const double before = std::exchange(cost, move_centres(clusters.first, 0, tried));
      if (cost == before) break;
    }
    if (cost < least) {
      least = cost;
      clusters.centres = std::move(tried.centres);
      clusters.weights = std::move(tried.weights);
    }
  }
}

// A centre that hardly a point is left of comes to where the most are, as in Spark.
void split_heaviest(Clusters& clusters) {
  auto& [centres, weights, first] = clusters;
  const auto [least, most] = std::ranges::minmax_element(weights);
  if (*least >= 1e-8 * *most) return;
  Point& from = centres[static_cast<size_t>(most - weights.begin())];
  Point& into = centres[static_cast<size_t>(least - weights.begin())];
  *least = *most = (*least + *most) / 2;
  for (size_t i = 0; i < from.size(); ++i) {
    const double step = 1e-14 * std::max(std::abs(from[i]), 1.0);
    into[i] = from[i] - step;
    from[i] += step;
  }
}

struct Line {
  double intercept;
  std::vector<double> coefficients;
};
Line fitted(const Moments& moments) {
  const size_t size = moments.means.size();
  std::vector<std::vector<double>> rows(size, std::vector<double>(size));  // symmetric; the first of y
  for (size_t row = 0, at = 0; row < size; ++row) {
    for (size_t column = row; column < size; ++column) rows[row][column] = rows[column][row] = moments.products[at++];
  }
  std::vector<bool> told(size);
  for (size_t row = 1, at = size; row < size; at += size - row++) {
    told[row] = rows[row][row] > 1e-12 * moments.products[at];  // what the x before it leave of what it had
    for (size_t below = row + 1; told[row] && below < size; ++below) {
      const double factor = rows[below][row] / rows[row][row];
      for (size_t column = 0; column < size; ++column) rows[below][column] -= factor * rows[row][column];
    }
  }
  Line line{moments.means[0], std::vector<double>(size - 1)};
  for (size_t row = size - 1; row > 0; --row) {
    if (!told[row]) continue;
    double left = rows[row][0];
    for (size_t column = row + 1; column < size; ++column) left -= rows[row][column] * line.coefficients[column - 1];
    line.coefficients[row - 1] = left / rows[row][row];
    line.intercept -= line.coefficients[row - 1] * moments.means[row];
  }
  return line;
}

bool read_numbers(const simdjson::dom::element& json, std::vector<double>& numbers) {
  simdjson::dom::array array;
  if (json.get(array) != simdjson::SUCCESS) return false;
  for (const simdjson::dom::element each : array) {
    if (each.get(numbers.emplace_back()) != simdjson::SUCCESS) return false;
  }
  return true;
}

}  // namespace

double kept_after(double points, double half_life) {
  if (half_life == 0) return 1;
  double whole = 0;
  double rest = std::modf(points / half_life, &whole);
  double kept = whole < 2000 ? std::ldexp(1, -static_cast<int>(whole)) : 0;
  // exp2() may differ from machine to machine; roots do not.
  double root = 0.5;
  for (int digits = 53; digits != 0 && rest != 0; --digits) {
    root = std::sqrt(root);
    rest = std::modf(rest * 2, &whole);
    if (whole != 0) kept *= root;
  }
  return kept;
}

std::string Clusters::text() const {
  return "{\"centres\":" + text_of(centres) + ",\"weights\":" + text_of(weights) + "}";
}

void ClusterRules::add(std::span<const Point> points, Clusters& clusters) const {
  if (clusters.centres.empty() || !clusters.first.empty()) {
    const size_t taken = std::min(points.size(), first_points - std::min(first_points, clusters.first.size()));
    clusters.first.insert(clusters.first.end(), points.begin(), points.begin() + static_cast<ptrdiff_t>(taken));
    points = points.subspan(taken);
    fit_first(k, seed, clusters);
    if (clusters.first.size() >= first_points) clusters.first.clear();
  }
  for (size_t i = 0; i < points.size() && clusters.centres.size() < k; ++i) {
    if (nearest_of(clusters.centres, points[i]).squared == 0) continue;
    clusters.centres.push_back(points[i]);
    clusters.weights.push_back(0);
  }
  if (points.empty()) return;
  move_centres(points, kept_after(static_cast<double>(points.size()), half_life), clusters);
  split_heaviest(clusters);
}

void Moments::add(const Point& point, double kept) {
  if (means.empty()) {
    means.resize(point.size());
    products.resize(point.size() * (point.size() + 1) / 2);
  }
  const double before = weight * kept;
  weight = before + 1;
  std::vector<double> steps(point.size());
  for (size_t i = 0; i < point.size(); ++i) steps[i] = point[i] - means[i];
  for (size_t row = 0, at = 0; row < point.size(); ++row) {
    for (size_t column = row; column < point.size(); ++column, ++at) {
      products[at] = products[at] * kept + steps[row] * steps[column] * (before / weight);
    }
    means[row] += steps[row] / weight;
  }
}

std::string Moments::text() const {
  const Line line = fitted(*this);
  return "{\"intercept\":" + text_of(line.intercept) + ",\"coefficients\":" + text_of(line.coefficients) +
         ",\"weight\":" + text_of(weight) + "}";
}

double Model::predict(const Point& point) const {
  if (!centres.empty()) return static_cast<double>(nearest_of(centres, point).centre);
  double value = intercept;
  for (size_t i = 0; i < point.size(); ++i) value += coefficients[i] * point[i];
  return value;
}

std::expected<Model, std::string> model_of(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  if (const auto error = parser.parse(json.data(), json.size(), true).get(object)) {
    return std::unexpected(std::string("no JSON object: ") + simdjson::error_message(error));
  }
  Model model;
  simdjson::dom::array centres;
  simdjson::dom::element numbers;
  if (object["centres"].get(centres) == simdjson::SUCCESS) {
    for (const simdjson::dom::element each : centres) {
      const bool read = read_numbers(each, model.centres.emplace_back());
      if (read && !model.centres.back().empty() && model.centres.back().size() == model.dimension()) continue;
      return std::unexpected("its 'centres' are no lists of numbers, all of one length");
    }
    if (model.centres.empty()) return std::unexpected("it has no centre");
    if (object["weights"].get(numbers) == simdjson::SUCCESS && !read_numbers(numbers, model.weights)) {
      return std::unexpected("its 'weights' are no list of numbers");
    }
    if (model.weights.empty()) model.weights.resize(model.centres.size(), 1);
    const bool fit = std::ranges::all_of(model.weights, [](double weight) { return weight >= 0; });
    if (fit && model.weights.size() == model.centres.size()) return model;
    return std::unexpected("its 'weights' are not one for each centre, from 0");
  }
  if (object["coefficients"].get(numbers) != simdjson::SUCCESS || !read_numbers(numbers, model.coefficients) ||
      model.coefficients.empty() || object["intercept"].get(model.intercept) != simdjson::SUCCESS) {
    return std::unexpected("it has neither 'centres' nor 'intercept' and 'coefficients', which are numbers");
  }
  return model;
}

}  // namespace millrace
