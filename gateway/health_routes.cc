#include "gateway/health_routes.h"

#include <nlohmann/json.hpp>

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

void HealthRoutes::add_to(Gateway& gateway) {
  gateway.add("GET", "/health", {},
              [this](const auto&, const auto&, const auto&, HttpReply reply) { reply(health()); });
  gateway.add("GET", "/ready", {}, [this](const auto&, const auto&, const auto&, HttpReply reply) {
    const HttpResponse answer = health();
    reply(answer.status == 200 ? HttpResponse{.type = "text/plain", .body = "ready\n"} : answer);
  });
  gateway.add("GET", "/metrics", Role::kRead,
              [&metrics = gateway.metrics()](const auto&, const auto&, const auto&, HttpReply reply) {
                reply({.type = "text/plain; version=0.0.4", .body = metrics.text()});
              });
}

}  // namespace millrace
