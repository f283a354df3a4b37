// MetricFamilies: what is told to Prometheus at one scrape: values that are looked up when somebody asks. All text of
// metrics in this program is made here, by prometheus-cpp, so names, types and labels are written in one way.
//
// Names follow https://prometheus.io/docs/practices/naming: millrace_, what it is of, what it is, its unit (seconds,
// bytes), and _total where it is a counter. docs/operations.md lists them.
#pragma once

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>

#include <list>
#include <string>
#include <utility>
#include <vector>

namespace millrace {

using MetricLabels = std::vector<prometheus::ClientMetric::Label>;

// Families in Prometheus' text format, version 0.0.4.
std::string metrics_text(const std::vector<prometheus::MetricFamily>& families);

// Values of one name. No two of them may have the same labels: Prometheus would refuse the whole text.
class MetricValues {
 public:
  explicit MetricValues(prometheus::MetricFamily family) : family_(std::move(family)) {}

  void add(MetricLabels labels, double value);
  // Of a histogram: what its collect() gave.
  void add(MetricLabels labels, prometheus::ClientMetric collected);

 private:
  friend class MetricFamilies;
  prometheus::MetricFamily family_;
};

class MetricFamilies {
 public:
  // These live as long as this.
  MetricValues& counter(std::string name, std::string help);
  MetricValues& gauge(std::string name, std::string help);
  MetricValues& histogram(std::string name, std::string help);

  [[nodiscard]] std::string text() const;

 private:
  MetricValues& add(std::string name, std::string help, prometheus::MetricType type);

  std::list<MetricValues> values_;
};

}  // namespace millrace
