// Bodies that are JSON, and what is said of those that are none.
#pragma once

#include <expected>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/seams/http.h"

namespace millrace {

template <typename T>
using Parsed = std::expected<T, HttpResponse>;

// 400 with `detail`.
std::unexpected<HttpResponse> bad_body(const std::string& detail);

// `place`, of what is said, is empty or ends with a colon and a blank; `too_deep` is said of more than `most_depth`
// levels.
Parsed<nlohmann::json> parse_json(std::string_view text, const std::string& place, int most_depth,
                                  const std::string& too_deep);

}  // namespace millrace
