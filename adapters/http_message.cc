#include "adapters/http_message.h"

#include <string>
#include <utility>

namespace millrace {

namespace http = boost::beast::http;

HttpRequest to_http_request(http::request<http::string_body>& message) {
  HttpRequest request{.method = std::string(message.method_string()), .target = std::string(message.target())};
  for (const auto& field : message) {
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  request.body = std::move(message.body());
  return request;
}

std::optional<HttpResponse> explain_broken_request(boost::system::error_code error, bool expired,
                                                   const HttpServerOptions& options) {
  if (expired) {
    return http_problem(408,
                        "the request had not come after " + std::to_string(to_ms(options.request_timeout)) + " ms");
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return http_problem(431,
                        "the head of the request is larger than " + std::to_string(options.max_head_bytes) + " bytes");
  }
  if (error == http::error::body_limit) {
    return http_problem(413, "the body of the request is larger than " + std::to_string(options.max_body_bytes) +
                                 " bytes; send it in parts");
  }
  if (error.category() != http::make_error_code(http::error::bad_method).category() ||
      error == http::error::end_of_stream || error == http::error::partial_message) {
    return std::nullopt;
  }
  return http_problem(400, "this is no HTTP request: " + error.message());
}

HttpResponse not_now(std::string_view detail) {
  HttpResponse problem = http_problem(503, detail);
  problem.headers.emplace_back("Retry-After", "1");
  return problem;
}

http::response<http::string_body> to_beast_head(const HttpResponse& response, const HttpHeaders& common,
                                                unsigned version) {
  http::response<http::string_body> head(http::int_to_status(static_cast<unsigned>(response.status)), version);
  head.set(http::field::content_type, response.type);
  for (const auto& [name, value] : common) head.insert(name, value);
  for (const auto& [name, value] : response.headers) head.set(name, value);
  return head;
}

}  // namespace millrace
