// HealthRoutes: how the gateway is, for probes, people and Prometheus: GET /health, /ready, /metrics.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "gateway/gateway.h"

namespace millrace {

// Something that the gateway needs: a log, say.
struct HealthPart {
  struct Health {
    std::string problem;     // with cause, place and remedy; empty: none
    Duration oldest_wait{};  // how long somebody has been waiting for it
  };
  std::string name;
  std::function<Health()> look;  // quick, on the server's thread
};

class HealthRoutes {
 public:
  // `process_metrics`: what /metrics says of the process besides, as text; may be null.
  explicit HealthRoutes(std::vector<HealthPart> parts, std::function<std::string()> process_metrics = nullptr)
      : parts_(std::move(parts)), process_metrics_(std::move(process_metrics)) {}

  // `gateway` calls this as long as it is called itself.
  void add_to(Gateway& gateway);

 private:
  [[nodiscard]] HttpResponse health() const;
  [[nodiscard]] std::string part_metrics() const;

  const std::vector<HealthPart> parts_;
  const std::function<std::string()> process_metrics_;
};

}  // namespace millrace
