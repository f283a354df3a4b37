#include "gateway/metrics.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/metrics/latency_histogram.h"
#include "common/metrics/metric_families.h"

namespace millrace {
namespace {

constexpr std::array<const char*, GatewayMetrics::kRefusals> kCauses = {"key",       "role",       "origin", "body",
                                                                        "user_rate", "total_rate", "log"};

prometheus::Family<prometheus::Counter>& add_counter(prometheus::Registry& registry, const char* name,
                                                     const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

}  // namespace

GatewayMetrics::GatewayMetrics()
    : requests_(add_counter(registry_, "millrace_gateway_requests_total", "Requests that were answered.")),
      latency_(prometheus::BuildHistogram()
                   .Name("millrace_gateway_request_seconds")
                   .Help("From a whole request to its answer.")
                   .Register(registry_)),
      bytes_(add_counter(registry_, "millrace_gateway_body_bytes_total",
                         "Bytes of the bodies of requests, as they came.")),
      under_way_(prometheus::BuildGauge()
                     .Name("millrace_gateway_requests_under_way")
                     .Help("Requests that are not answered yet.")
                     .Register(registry_)),
      records_(add_counter(registry_, "millrace_gateway_records_total", "Records that were made durable.").Add({})) {
  auto& causes = add_counter(registry_, "millrace_gateway_refused_total", "Requests that were refused, by what.");
  for (size_t i = 0; i < kRefusals; ++i) refused_[i] = &causes.Add({{"cause", std::string(kCauses[i])}});
}

GatewayMetrics::Route::Route(GatewayMetrics& metrics, std::string name)
    : metrics_(metrics),
      name_(std::move(name)),
      latency_(metrics.latency_.Add({{"route", name_}}, latency_bounds())),
      bytes_(metrics.bytes_.Add({{"route", name_}})),
      under_way_(metrics.under_way_.Add({{"route", name_}})) {}

void GatewayMetrics::Route::begun(size_t bytes) {
  bytes_.Increment(static_cast<double>(bytes));
  under_way_.Increment();
}

void GatewayMetrics::Route::answered(int status, Duration took) {
  std::atomic<prometheus::Counter*>& counter = by_status_[static_cast<size_t>(std::clamp(status, 0, 599))];
  if (counter == nullptr) counter = &metrics_.answered(name_, status);
  counter.load()->Increment();
  latency_.Observe(std::chrono::duration<double>(took).count());
  under_way_.Decrement();
}

prometheus::Counter& GatewayMetrics::answered(const std::string& route, int status) {
  return requests_.Add({{"route", route}, {"status", std::to_string(std::clamp(status, 0, 599))}});
}

GatewayMetrics::Route& GatewayMetrics::add_route(std::string name) {
  return routes_.emplace_back(*this, std::move(name));
}

std::string GatewayMetrics::text() const {
  return metrics_text(registry_.Collect());
}

}  // namespace millrace
