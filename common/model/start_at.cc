#include "common/model/start_at.h"

#include <charconv>
#include <chrono>
#include <optional>
#include <string_view>

namespace millrace {
namespace {

// All of `text` is a number of digits.
template <typename T>
std::optional<T> number(std::string_view text) {
  T value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.front() == '-' || error != std::errc() || stop != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<int64_t> parse_time_ms(std::string_view text) {
  constexpr std::string_view kShape = "dddd-dd-ddTdd:dd:dd";
  if (text.size() <= kShape.size() || text.back() != 'Z') return std::nullopt;
  for (size_t i = 0; i < kShape.size(); ++i) {
    if (kShape[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != kShape[i]) return std::nullopt;
  }
  const auto part = [&](size_t at, size_t size) { return *number<int>(text.substr(at, size)); };
  const std::chrono::year_month_day day(std::chrono::year(part(0, 4)),
                                        std::chrono::month(static_cast<unsigned>(part(5, 2))),
                                        std::chrono::day(static_cast<unsigned>(part(8, 2))));
  if (!day.ok() || part(11, 2) > 23 || part(14, 2) > 59 || part(17, 2) > 59) return std::nullopt;
  int millis = 0;
  if (const std::string_view rest = text.substr(kShape.size()); rest != "Z") {
    const std::optional<int> fraction = rest.size() == 5 ? number<int>(rest.substr(1, 3)) : std::nullopt;
    if (rest.front() != '.' || !fraction) return std::nullopt;
    millis = *fraction;
  }
  const std::chrono::sys_time<std::chrono::milliseconds> time =
      std::chrono::sys_days(day) + std::chrono::hours(part(11, 2)) + std::chrono::minutes(part(14, 2)) +
      std::chrono::seconds(part(17, 2)) + std::chrono::milliseconds(millis);
  return time.time_since_epoch().count();
}

std::optional<std::map<LogPartition, Offset>> parse_offsets(std::string_view text) {
  std::map<LogPartition, Offset> offsets;
  for (bool more = true; more;) {
    const size_t comma = text.find(',');
    const std::string_view pair = text.substr(0, comma);
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const auto partition = number<int32_t>(pair.substr(0, equals));
    const auto offset = number<int64_t>(pair.substr(equals + 1));
    if (!partition || !offset || !offsets.emplace(LogPartition(*partition), Offset(*offset)).second) {
      return std::nullopt;
    }
    more = comma != std::string_view::npos;
    if (more) text.remove_prefix(comma + 1);
  }
  return offsets;
}

}  // namespace

Result<StartAt> parse_start(const std::string& text) {
  if (text == "earliest") return StartAt{StartAt::Place::kEarliest, 0, {}};
  if (text == "latest") return StartAt{StartAt::Place::kLatest, 0, {}};
  if (const auto time_ms = parse_time_ms(text)) return StartAt{StartAt::Place::kTime, *time_ms, {}};
  if (auto offsets = parse_offsets(text)) return StartAt{StartAt::Place::kOffsets, 0, std::move(*offsets)};
  return fail(ErrorCode::kInvalid, "'" + text.substr(0, 80) +
                                       "' is no place to start at; write earliest, latest, a time in UTC like "
                                       "2026-11-21T20:30:00Z, or the offset of each partition like 0=1500,1=0");
}

}  // namespace millrace
