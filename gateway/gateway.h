// Gateway: what all routes of millrace-gateway have in common: who may use them, from which pages, and what is counted.
// The routes come in groups, each in a file of its own: ingest_routes.h, health_routes.h, job_routes.h, page_routes.h.
//
// A plain object behind an HttpServer, whose thread calls it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/seams/clock.h"
#include "common/seams/http.h"
#include "common/seams/http_routes.h"
#include "gateway/api_keys.h"
#include "gateway/metrics.h"

namespace millrace {

// Who sends a request.
struct Caller {
  std::string key_name;      // of the API key; empty: there is none, or keys are not asked for
  std::string peer;          // the address
  std::optional<Role> role;  // what he may do; none: his key is not known, for routes that need none
};

struct GatewayOptions {
  std::optional<ApiKeys> keys;  // none: whoever reaches it may do everything
  std::string cors_origin;      // whose pages may use it besides its own, e.g. https://example.org; empty: no others
};

class Gateway {
 public:
  using Answer =
      std::function<void(HttpRequest request, HttpRoutes::Arguments arguments, Caller caller, HttpReply reply)>;

  // `clock` and `metrics` outlive it.
  Gateway(GatewayOptions options, const Clock& clock, GatewayMetrics& metrics);

  // As HttpRoutes::add(); `role`: what a key must allow, none: it needs no key.
  void add(const std::string& method, std::string_view path, std::optional<Role> role, Answer answer);

  void operator()(HttpRequest request, HttpReply reply);

  [[nodiscard]] GatewayMetrics& metrics() { return metrics_; }

  // What every answer has, those of the server itself, too.
  [[nodiscard]] static HttpHeaders common_headers(const std::string& cors_origin);

 private:
  std::expected<Caller, HttpResponse> admit(const HttpRequest& request, std::optional<Role> role);
  [[nodiscard]] bool own_name(const HttpRequest& request) const;
  [[nodiscard]] bool own_page(const HttpRequest& request) const;
  HttpReply measured(GatewayMetrics::Route& route, const HttpRequest& request, HttpReply reply);

  const GatewayOptions options_;
  const Clock& clock_;
  GatewayMetrics& metrics_;
  HttpRoutes routes_;
};

// 503, or 429: with when to come again, in whole seconds, at least one.
HttpResponse later(int status, std::string_view detail, Duration wait = std::chrono::seconds(1));

// What the master or a log could not do, for whoever asked.
HttpResponse http_failure(const Error& error);

}  // namespace millrace
