#include "common/metrics/metric_families.h"

#include <prometheus/metric_type.h>
#include <prometheus/text_serializer.h>

#include <sstream>

namespace millrace {

std::string metrics_text(const std::vector<prometheus::MetricFamily>& families) {
  std::ostringstream text;
  const prometheus::TextSerializer serializer;
  serializer.Serialize(text, families);
  return text.str();
}

void MetricValues::add(MetricLabels labels, double value) {
  prometheus::ClientMetric& metric = family_.metric.emplace_back();
  metric.label = std::move(labels);
  if (family_.type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
}

void MetricValues::add(MetricLabels labels, prometheus::ClientMetric collected) {
  collected.label = std::move(labels);
  family_.metric.push_back(std::move(collected));
}

MetricValues& MetricFamilies::add(std::string name, std::string help, prometheus::MetricType type) {
  prometheus::MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return values_.emplace_back(std::move(family));
}

MetricValues& MetricFamilies::counter(std::string name, std::string help) {
  return add(std::move(name), std::move(help), prometheus::MetricType::Counter);
}

MetricValues& MetricFamilies::gauge(std::string name, std::string help) {
  return add(std::move(name), std::move(help), prometheus::MetricType::Gauge);
}

MetricValues& MetricFamilies::histogram(std::string name, std::string help) {
  return add(std::move(name), std::move(help), prometheus::MetricType::Histogram);
}

std::string MetricFamilies::text() const {
  std::vector<prometheus::MetricFamily> families;
  families.reserve(values_.size());
  for (const MetricValues& values : values_) families.push_back(values.family_);
  return metrics_text(families);
}

}  // namespace millrace
