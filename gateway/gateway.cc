#include "gateway/gateway.h"

#include <algorithm>
#include <utility>

#include "common/model/address.h"

namespace millrace {
namespace {

constexpr std::string_view kBearer = "Bearer ";

}  // namespace

HttpResponse later(int status, std::string_view detail, Duration wait) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
  HttpResponse response = http_problem(status, detail);
  response.headers.emplace_back("Retry-After", std::to_string(std::max<int64_t>(1, seconds)));
  return response;
}

HttpResponse http_failure(const Error& error) {
  const int status = http_status_of(error.code);
  return status == 503 ? later(503, error.message) : http_problem(status, error.message);
}

Gateway::Gateway(GatewayOptions options, const Clock& clock, GatewayMetrics& metrics)
    : options_(std::move(options)),
      clock_(clock),
      metrics_(metrics),
      routes_([&metrics](int status) { metrics.unrouted(status); }) {}

HttpHeaders Gateway::common_headers(const std::string& cors_origin) {
  HttpHeaders headers = {
      {"Server", "millrace-gateway"},
      {"X-Content-Type-Options", "nosniff"},
      {"X-Frame-Options", "DENY"},
      {"Referrer-Policy", "no-referrer"},
      {"Content-Security-Policy",
       "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
      {"Cache-Control", "no-store"}};
  if (!cors_origin.empty()) {
    headers.emplace_back("Access-Control-Allow-Origin", cors_origin);
    headers.emplace_back("Access-Control-Expose-Headers", "Retry-After, Millrace-Batch");
    headers.emplace_back("Vary", "Origin");
  }
  return headers;
}

void Gateway::add(const std::string& method, std::string_view path, std::optional<Role> role, Answer answer) {
  GatewayMetrics::Route& route = metrics_.add_route(method + " " + std::string(path));
  routes_.add(method, path,
              [this, &route, role, answer = std::move(answer)](HttpRequest request, HttpRoutes::Arguments arguments,
                                                               HttpReply reply) {
                HttpReply counted = measured(route, request, std::move(reply));
                auto caller = admit(request, role);
                if (!caller) return counted(std::move(caller.error()));
                answer(std::move(request), std::move(arguments), std::move(*caller), std::move(counted));
              });
}

HttpReply Gateway::measured(GatewayMetrics::Route& route, const HttpRequest& request, HttpReply reply) {
  route.begun(request.body.size());
  return HttpReply([this, &route, begin = clock_.now(), reply = std::move(reply)](HttpResponse response) mutable {
    route.answered(response.status, clock_.now() - begin);
    reply(std::move(response));
  });
}

// Browsers let any page send some kinds of requests anywhere, and say so by this header.
bool Gateway::own_page(const HttpRequest& request) const {
  const std::string_view origin = request.header("Origin");
  if (origin.empty() || origin == options_.cors_origin) return true;
  const size_t host = origin.find("://");
  return host != std::string_view::npos && origin.substr(host + 3) == request.header("Host");
}

// Without keys it listens on this machine only. A page of elsewhere whose name has been made to mean this machine (DNS
// rebinding) is of one origin with it for the browser, but asks by that name.
bool Gateway::own_name(const HttpRequest& request) const {
  const std::string name(request.header("Host"));
  if (options_.keys || name.empty()) return true;
  auto address = parse_address("Host", name);
  if (!address) address = parse_address("Host", name + ":80");
  return address && is_loopback(address->host);
}

std::expected<Caller, HttpResponse> Gateway::admit(const HttpRequest& request, std::optional<Role> role) {
  if (!own_name(request)) {
    metrics_.refused(GatewayMetrics::Refusal::kOrigin);
    return std::unexpected(http_problem(403,
                                        "this gateway has no API keys, so it is for this machine and its names "
                                        "only, e.g. localhost, and not for '" +
                                            std::string(request.header("Host").substr(0, 200)) +
                                            "'; --auth gives it keys"));
  }
  if (!own_page(request)) {
    metrics_.refused(GatewayMetrics::Refusal::kOrigin);
    return std::unexpected(http_problem(403, "this gateway takes nothing from pages of '" +
                                                 std::string(request.header("Origin").substr(0, 200)) +
                                                 "'; --cors_origin names the one whose pages may use it"));
  }
  Caller caller{.key_name = "", .peer = request.peer, .role = Role::kOperate};
  if (!options_.keys) return caller;
  const std::string_view given = request.header("Authorization");
  const ApiKey* const key = same_http_name(given.substr(0, kBearer.size()), kBearer)
                                ? options_.keys->find(given.substr(kBearer.size()))
                                : nullptr;
  caller.role = key == nullptr ? std::nullopt : std::optional(key->role);
  if (key != nullptr) caller.key_name = key->name;
  if (!role) return caller;
  if (key == nullptr) {
    metrics_.refused(GatewayMetrics::Refusal::kKey);
    HttpResponse response =
        http_problem(401, given.empty() ? "an API key is needed; send it as: Authorization: Bearer KEY"
                                        : "this API key is not known");
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return std::unexpected(std::move(response));
  }
  if (!may(key->role, *role)) {
    metrics_.refused(GatewayMetrics::Refusal::kRole);
    return std::unexpected(http_problem(403, "the API key '" + key->name + "' has the role " + to_string(key->role) +
                                                 ", and this needs " + to_string(*role)));
  }
  return caller;
}

void Gateway::operator()(HttpRequest request, HttpReply reply) {
  const bool preflight = request.method == "OPTIONS" && !options_.cors_origin.empty() &&
                         !request.header("Access-Control-Request-Method").empty();
  if (preflight) {
    return reply({.status = 204,
                  .body = "",
                  .headers = {{"Access-Control-Allow-Methods", "GET, POST, DELETE"},
                              {"Access-Control-Allow-Headers",
                               "Authorization, Content-Type, Content-Encoding, Idempotency-Key, Last-Event-ID"},
                              {"Access-Control-Max-Age", "600"}}});
  }
  routes_(std::move(request), std::move(reply));
}

}  // namespace millrace
