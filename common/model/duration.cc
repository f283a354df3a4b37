#include "common/model/duration.h"

#include <charconv>
#include <limits>

namespace millrace {
namespace {

int64_t unit_ms(const std::string& unit) {
  if (unit == "ms") return 1;
  if (unit == "s") return 1000;
  if (unit == "m") return 60'000;
  if (unit == "h") return 3'600'000;
  return 0;
}

}  // namespace

Result<int64_t> parse_duration_ms(const std::string& text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  const int64_t unit = unit_ms(std::string(stop, end));
  if (error != std::errc() || unit == 0 || number < 1 || number > std::numeric_limits<int64_t>::max() / unit) {
    return fail(ErrorCode::kInvalid,
                "'" + text + "' is no duration; write a whole number and a unit: 100ms, 1s, 5m, 1h");
  }
  return number * unit;
}

std::string duration_text_ms(int64_t ms) {
  if (ms != 0 && ms % 3'600'000 == 0) return std::to_string(ms / 3'600'000) + "h";
  if (ms != 0 && ms % 60'000 == 0) return std::to_string(ms / 60'000) + "m";
  if (ms != 0 && ms % 1000 == 0) return std::to_string(ms / 1000) + "s";
  return std::to_string(ms) + "ms";
}

}  // namespace millrace
