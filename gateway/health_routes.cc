#include "gateway/health_routes.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "common/metrics/metric_families.h"

namespace millrace {
namespace {

constexpr Duration kLate = std::chrono::seconds(5);

}  // namespace

// 503 as long as a part of it is not as it should be.
HttpResponse HealthRoutes::health() const {
  bool well = true;
  nlohmann::json parts = nlohmann::json::array();
  for (const HealthPart& part : parts_) {
    HealthPart::Health health = part.look();
    if (health.problem.empty() && health.oldest_wait > kLate) {
      health.problem = "requests have been waiting for it for " + std::to_string(to_ms(health.oldest_wait)) + " ms";
    }
    nlohmann::json described = {{"name", part.name},
                                {"status", health.problem.empty() ? "ok" : "failing"},
                                {"oldest_wait_ms", to_ms(health.oldest_wait)}};
    if (!health.problem.empty()) described["problem"] = health.problem;
    well = well && health.problem.empty();
    parts.push_back(std::move(described));
  }
  const nlohmann::json all = {{"status", well ? "ok" : "failing"}, {"version", MILLRACE_VERSION}, {"parts", parts}};
  return {.status = well ? 200 : 503,
          .body = all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"};
}

std::string HealthRoutes::part_metrics() const {
  MetricFamilies families;
  MetricValues& failing =
      families.gauge("millrace_gateway_part_failing", "1 if something that the gateway needs says so.");
  MetricValues& wait = families.gauge("millrace_gateway_part_oldest_wait_seconds",
                                      "How long the oldest request that is under way has been waiting for it.");
  for (const HealthPart& part : parts_) {
    const HealthPart::Health health = part.look();
    failing.add({{"part", part.name}}, health.problem.empty() ? 0 : 1);
    wait.add({{"part", part.name}}, std::chrono::duration<double>(health.oldest_wait).count());
  }
  return families.text();
}

void HealthRoutes::add_to(Gateway& gateway) {
  gateway.add("GET", "/health", {},
              [this](const auto&, const auto&, const auto&, HttpReply reply) { reply(health()); });
  gateway.add("GET", "/ready", {}, [this](const auto&, const auto&, const auto&, HttpReply reply) {
    const HttpResponse answer = health();
    reply(answer.status == 200 ? HttpResponse{.type = "text/plain", .body = "ready\n"} : answer);
  });
  gateway.add("GET", "/metrics", Role::kRead,
              [this, &metrics = gateway.metrics()](const auto&, const auto&, const auto&, HttpReply reply) {
                const std::string process = process_metrics_ ? process_metrics_() : "";
                reply({.type = "text/plain; version=0.0.4", .body = metrics.text() + part_metrics() + process});
              });
}

}  // namespace millrace
