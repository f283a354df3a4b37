#include "common/seams/http.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace millrace {
namespace {

const char* title_of(int status) {
  switch (status) {
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 413: return "Payload Too Large";
    case 415: return "Unsupported Media Type";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "Error";
  }
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

bool same_http_name(std::string_view one, std::string_view other) {
  return std::ranges::equal(one, other, {}, lower, lower);
}

std::string HttpRequest::parameter(const std::string& name) const {
  const auto found = query.find(name);
  return found == query.end() ? "" : found->second;
}

std::string_view HttpRequest::header(std::string_view name) const {
  const auto found =
      std::ranges::find_if(headers, [&](const auto& field) { return same_http_name(field.first, name); });
  return found == headers.end() ? std::string_view() : found->second;
}

HttpResponse http_problem(int status, std::string_view detail) {
  const nlohmann::json problem = {{"title", title_of(status)}, {"status", status}, {"detail", std::string(detail)}};
  return {.status = status,
          .type = "application/problem+json",
          .body = problem.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"};
}

int http_status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid: return 400;
    case ErrorCode::kNotFound: return 404;
    case ErrorCode::kExists: return 409;
    case ErrorCode::kDataLost: return 410;
    case ErrorCode::kUnavailable: return 503;
    case ErrorCode::kTimeout: return 504;
    default: return 500;
  }
}

HttpReply::~HttpReply() {
  if (send_) (*this)(http_problem(500, "the request was given up; its effect is not known"));
}

void HttpReply::operator()(HttpResponse response) {
  std::exchange(send_, nullptr)(std::move(response));
}

}  // namespace millrace
