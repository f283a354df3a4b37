#include "common/seams/http_routes.h"

#include <algorithm>
#include <optional>
#include <ranges>

namespace millrace {
namespace {

bool is_argument(std::string_view segment) {
  return !segment.empty() && std::ranges::all_of(segment, [](char c) { return c >= 'A' && c <= 'Z'; });
}

std::optional<HttpRoutes::Arguments> match(const std::vector<std::string>& route,
                                           const std::vector<std::string>& path) {
  if (route.size() != path.size()) return std::nullopt;
  HttpRoutes::Arguments arguments;
  for (size_t i = 0; i < route.size(); ++i) {
    if (is_argument(route[i])) {
      arguments.push_back(path[i]);
    } else if (route[i] != path[i]) {
      return std::nullopt;
    }
  }
  return arguments;
}

std::string joined(const std::vector<std::string>& segments) {
  std::string text;
  for (const std::string& segment : segments) text += "/" + segment;
  return text;
}

}  // namespace

void HttpRoutes::add(std::string method, std::string_view path, Answer answer) {
  Route route{.method = std::move(method), .path = {}, .answer = std::move(answer)};
  if (path == "/") route.path.emplace_back();
  for (const auto segment : std::views::split(path.substr(1), '/')) {
    route.path.emplace_back(std::string_view(segment));
  }
  routes_.push_back(std::move(route));
}

void HttpRoutes::operator()(HttpRequest request, HttpReply reply) const {
  const std::string_view method = request.method == "HEAD" ? std::string_view("GET") : request.method;
  std::string allowed;
  for (const Route& route : routes_) {
    auto arguments = match(route.path, request.path);
    if (!arguments) continue;
    if (route.method == method) return route.answer(std::move(request), std::move(*arguments), std::move(reply));
    allowed += (allowed.empty() ? "" : ", ") + route.method;
  }
  if (allowed.empty()) return refuse(no_such_path(request), std::move(reply));
  HttpResponse response =
      http_problem(405, request.method + " " + request.target.substr(0, 200) + ": there is " + allowed);
  response.headers.emplace_back("Allow", allowed);
  refuse(std::move(response), std::move(reply));
}

void HttpRoutes::refuse(HttpResponse problem, HttpReply reply) const {
  if (refused_) refused_(problem.status);
  reply(std::move(problem));
}

HttpResponse HttpRoutes::no_such_path(const HttpRequest& request) const {
  std::string known;
  for (const Route& route : routes_) {
    known += (known.empty() ? "" : ", ") + route.method + " " + joined(route.path);
  }
  return http_problem(404, "'" + request.target.substr(0, 200) + "' is not there; there is " + known);
}

}  // namespace millrace
