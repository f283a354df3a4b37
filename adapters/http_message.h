// What HttpServer reads and writes, between Beast's terms and ours.
#pragma once

#include <boost/beast/http.hpp>
#include <boost/system/error_code.hpp>
#include <optional>
#include <string_view>

#include "adapters/http_server.h"
#include "common/seams/http.h"

namespace millrace {

// Takes the body. Without path, query and peer.
HttpRequest to_http_request(boost::beast::http::request<boost::beast::http::string_body>& message);

// What to say to who has sent a request that did not come as it should, or not in time (expired). nullopt: nobody is
// there any more.
std::optional<HttpResponse> explain_broken_request(boost::system::error_code error, bool expired,
                                                   const HttpServerOptions& options);

// 503, with when to come again.
HttpResponse not_now(std::string_view detail);

// Without its body. What it says itself stands instead of what is `common` to all.
boost::beast::http::response<boost::beast::http::string_body> to_beast_head(const HttpResponse& response,
                                                                            const HttpHeaders& common,
                                                                            unsigned version);

}  // namespace millrace
