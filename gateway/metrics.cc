#include "gateway/metrics.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace millrace {
namespace {

constexpr std::array<double, 14> kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                            0.1,    0.25,  0.5,    1,     2.5,  5,     10};
constexpr std::array<const char*, GatewayMetrics::kRefusals> kCauses = {"key",       "role",       "origin", "body",
                                                                        "user_rate", "total_rate", "log"};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.10g", value);
  return text;
}

void head(std::string& out, const char* name, const char* type, const char* help) {
  out += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

}  // namespace

void GatewayMetrics::Route::begun(size_t bytes) {
  bytes_ += bytes;
  ++under_way_;
}

void GatewayMetrics::Route::answered(int status, Duration took) {
  const double seconds = std::chrono::duration<double>(took).count();
  ++by_status_[static_cast<size_t>(std::clamp(status, 0, 599))];
  ++by_latency_[static_cast<size_t>(std::ranges::lower_bound(kBounds, seconds) - kBounds.begin())];
  took_us_ += to_us(took);
  --under_way_;
}

void GatewayMetrics::Route::describe_requests(std::string& out) const {
  for (size_t status = 0; status < by_status_.size(); ++status) {
    if (by_status_[status] == 0) continue;
    out += "millrace_gateway_requests_total{route=\"" + name_ + "\",status=\"" + std::to_string(status) + "\"} " +
           std::to_string(by_status_[status]) + "\n";
  }
}

void GatewayMetrics::Route::describe_latency(std::string& out) const {
  const std::string route = "{route=\"" + name_ + "\"";
  uint64_t count = 0;
  for (size_t i = 0; i < by_latency_.size(); ++i) {
    count += by_latency_[i];
    out += "millrace_gateway_request_seconds_bucket" + route + ",le=\"" +
           (i < kBounds.size() ? number(kBounds[i]) : "+Inf") + "\"} " + std::to_string(count) + "\n";
  }
  out += "millrace_gateway_request_seconds_sum" + route + "} " + number(static_cast<double>(took_us_) / 1e6) + "\n";
  out += "millrace_gateway_request_seconds_count" + route + "} " + std::to_string(count) + "\n";
}

void GatewayMetrics::unrouted(int status) {
  ++no_route_.by_status_[static_cast<size_t>(std::clamp(status, 0, 599))];
}

GatewayMetrics::Route& GatewayMetrics::add_route(std::string name) {
  return routes_.emplace_back(std::move(name));
}

std::string GatewayMetrics::text() const {
  std::string out, latency, bytes, under_way;
  head(out, "millrace_gateway_requests_total", "counter", "Requests that were answered.");
  head(latency, "millrace_gateway_request_seconds", "histogram", "From a whole request to its answer.");
  head(bytes, "millrace_gateway_body_bytes_total", "counter", "Bytes of the bodies of requests, as they came.");
  head(under_way, "millrace_gateway_requests_under_way", "gauge", "Requests that are not answered yet.");
  for (const Route& route : routes_) {
    route.describe_requests(out);
    route.describe_latency(latency);
    const std::string label = "{route=\"" + route.name_ + "\"} ";
    bytes += "millrace_gateway_body_bytes_total" + label + std::to_string(route.bytes_) + "\n";
    under_way += "millrace_gateway_requests_under_way" + label + std::to_string(route.under_way_) + "\n";
  }
  no_route_.describe_requests(out);
  out += latency + bytes + under_way;
  head(out, "millrace_gateway_refused_total", "counter", "Requests that were refused, by what.");
  for (size_t i = 0; i < kRefusals; ++i) {
    out += std::string("millrace_gateway_refused_total{cause=\"") + kCauses[i] + "\"} " + std::to_string(refused_[i]) +
           "\n";
  }
  head(out, "millrace_gateway_records_total", "counter", "Records that were made durable.");
  return out + "millrace_gateway_records_total " + std::to_string(records_) + "\n";
}

}  // namespace millrace
