// GatewayMetrics: what a gateway counts, for Prometheus.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <list>
#include <string>

#include "common/base/time.h"

namespace millrace {

// Thread-safe, but for add_route(), which comes before all others.
class GatewayMetrics {
 public:
  class Route {
   public:
    Route(GatewayMetrics& metrics, std::string name);
    void begun(size_t bytes);
    void answered(int status, Duration took);

   private:
    GatewayMetrics& metrics_;  // outlives this
    const std::string name_;
    // Of the registry, which finds a counter under a lock only the first time that a status is answered.
    std::array<std::atomic<prometheus::Counter*>, 600> by_status_{};
    prometheus::Histogram& latency_;
    prometheus::Counter& bytes_;
    prometheus::Gauge& under_way_;
  };

  enum class Refusal { kKey, kRole, kOrigin, kBody, kUserRate, kTotalRate, kLog };
  static constexpr size_t kRefusals = 7;

  GatewayMetrics();

  Route& add_route(std::string name);  // which lives as long as this
  void refused(Refusal why) { refused_[static_cast<size_t>(why)]->Increment(); }
  void stored(size_t records) { records_.Increment(static_cast<double>(records)); }
  // A request that no route was asked about.
  void unrouted(int status) { answered("none", status).Increment(); }

  [[nodiscard]] std::string text() const;

 private:
  prometheus::Counter& answered(const std::string& route, int status);

  prometheus::Registry registry_;
  // Of the registry.
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Histogram>& latency_;
  prometheus::Family<prometheus::Counter>& bytes_;
  prometheus::Family<prometheus::Gauge>& under_way_;
  prometheus::Counter& records_;
  std::array<prometheus::Counter*, kRefusals> refused_{};
  std::list<Route> routes_;
};

}  // namespace millrace
