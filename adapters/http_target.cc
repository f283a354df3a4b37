#include "adapters/http_target.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/hex.h"

namespace millrace {
namespace {

// Percent-encoding undone; none where it is malformed. In a query '+' is a blank.
std::optional<std::string> decode(std::string_view text, bool query) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(query && text[i] == '+' ? ' ' : text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded.push_back(static_cast<char>(high << 4 | low));
    i += 2;
  }
  return decoded;
}

// Calls use(part) for the parts between the separators; false as soon as that is.
template <typename Use>
bool for_each_part(std::string_view text, char separator, Use use) {
  while (true) {
    const size_t end = text.find(separator);
    if (!use(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

bool parse_target(HttpRequest& request) {
  const std::string_view target = request.target;
  if (!target.starts_with('/')) return false;
  const size_t mark = target.find('?');
  const bool path_parsed = for_each_part(target.substr(1, mark - 1), '/', [&](std::string_view part) {
    auto segment = decode(part, false);
    if (!segment) return false;
    request.path.push_back(std::move(*segment));
    return true;
  });
  if (!path_parsed || mark == std::string_view::npos) return path_parsed;
  return for_each_part(target.substr(mark + 1), '&', [&](std::string_view part) {
    if (part.empty()) return true;
    const size_t equals = std::min(part.find('='), part.size());
    auto name = decode(part.substr(0, equals), true);
    auto value = decode(part.substr(std::min(equals + 1, part.size())), true);
    if (!name || !value) return false;
    request.query[std::move(*name)] = std::move(*value);
    return true;
  });
}

}  // namespace millrace
