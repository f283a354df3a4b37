// GatewayMetrics: what a gateway counts, as Prometheus' text.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <string>

#include "common/base/time.h"

namespace millrace {

// Thread-safe, but for add_route(), which comes before all others.
class GatewayMetrics {
 public:
  class Route {
   public:
    explicit Route(std::string name) : name_(std::move(name)) {}
    void begun(size_t bytes);
    void answered(int status, Duration took);

   private:
    friend class GatewayMetrics;
    static constexpr size_t kBuckets = 14;
    void describe_requests(std::string& out) const;
    void describe_latency(std::string& out) const;

    const std::string name_;
    std::array<std::atomic<uint64_t>, 600> by_status_{};
    std::array<std::atomic<uint64_t>, kBuckets + 1> by_latency_{};  // the last one: longer than all
    std::atomic<int64_t> took_us_ = 0;
    std::atomic<uint64_t> bytes_ = 0;
    std::atomic<int64_t> under_way_ = 0;
  };

  enum class Refusal { kKey, kRole, kOrigin, kBody, kUserRate, kTotalRate, kLog };
  static constexpr size_t kRefusals = 7;

  Route& add_route(std::string name);  // which lives as long as this
  void refused(Refusal why) { ++refused_[static_cast<size_t>(why)]; }
  void stored(size_t records) { records_ += records; }
  // A request that no route was asked about.
  void unrouted(int status);

  [[nodiscard]] std::string text() const;

 private:
  std::list<Route> routes_;
  Route no_route_{"none"};  // whose requests are counted, and nothing else
  std::array<std::atomic<uint64_t>, kRefusals> refused_{};
  std::atomic<uint64_t> records_ = 0;
};

}  // namespace millrace
