#include "gateway/json_body.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr size_t kMostQuoted = 300;  // of a message that repeats what was sent

}  // namespace

std::unexpected<HttpResponse> bad_body(const std::string& detail) {
  return std::unexpected(http_problem(400, detail));
}

Parsed<json> parse_json(std::string_view text, const std::string& place, int most_depth, const std::string& too_deep) {
  bool deep = false;
  const auto shallow = [&](int depth, json::parse_event_t, const json&) {
    deep = deep || depth > most_depth;
    return depth <= most_depth;
  };
  try {
    json value = json::parse(text, shallow);
    if (deep) return bad_body(place + too_deep);
    return value;
  } catch (const json::exception& error) {  // a parse_error, and out_of_range of a number that is too large
    // "[json.exception.parse_error.101] parse error at line 1, column 8: ..."
    const std::string_view what = error.what();
    return bad_body(place + "this is no JSON: " + std::string(what.substr(what.find("] ") + 2).substr(0, kMostQuoted)));
  }
}

}  // namespace millrace
