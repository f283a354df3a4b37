// LatencyHistogram: how often something took how long, in the buckets that all histograms of seconds have. Thread-safe.
#pragma once

#include <prometheus/client_metric.h>
#include <prometheus/histogram.h>

#include <chrono>
#include <vector>

#include "common/base/time.h"

namespace millrace {

// Upper bounds in seconds.
inline const std::vector<double>& latency_bounds() {
  static const std::vector<double> bounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                             0.25,   0.5,   1,      2.5,   5,    10,    30,   60};
  return bounds;
}

// What it holds at one moment.
using CollectedHistogram = prometheus::ClientMetric;

class LatencyHistogram {
 public:
  LatencyHistogram() : histogram_(latency_bounds()) {}

  void observe(Duration took) { histogram_.Observe(std::chrono::duration<double>(took).count()); }
  [[nodiscard]] CollectedHistogram collect() const { return histogram_.Collect(); }

 private:
  prometheus::Histogram histogram_;
};

}  // namespace millrace
