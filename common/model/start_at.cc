#include "common/model/start_at.h"

#include <charconv>
#include <optional>
#include <string_view>

#include "common/model/utc.h"

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

std::optional<decltype(StartAt::offsets)> parse_offsets(std::string_view text) {
  decltype(StartAt::offsets) offsets;
  for (bool more = true; more;) {
    const size_t comma = text.find(',');
    const std::string_view pair = text.substr(0, comma);
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view place = pair.substr(0, equals);
    const size_t colon = place.find(':');
    const std::string topic(colon == std::string_view::npos ? "" : place.substr(0, colon));
    const auto partition = number<int32_t>(colon == std::string_view::npos ? place : place.substr(colon + 1));
    const auto offset = number<int64_t>(pair.substr(equals + 1));
    if (!partition || !offset || (colon != std::string_view::npos && topic.empty())) return std::nullopt;
    if (!offsets.emplace(std::pair(topic, *partition), Offset(*offset)).second) return std::nullopt;
    more = comma != std::string_view::npos;
    if (more) text.remove_prefix(comma + 1);
  }
  return offsets;
}

}  // namespace

Result<StartAt> parse_start(const std::string& text) {
  if (text == "earliest") return StartAt{StartAt::Place::kEarliest, 0, {}};
  if (text == "latest") return StartAt{StartAt::Place::kLatest, 0, {}};
  if (int64_t time_ms = 0; parse_utc(text, time_ms)) return StartAt{StartAt::Place::kTime, time_ms, {}};
  if (auto offsets = parse_offsets(text)) return StartAt{StartAt::Place::kOffsets, 0, std::move(*offsets)};
  return fail(ErrorCode::kInvalid,
              "'" + text.substr(0, 80) +
                  "' is no place to start at; write earliest, latest, a time in UTC like "
                  "2026-11-21T20:30:00Z, or the offset of each partition like 0=1500,1=0 (of several topics: "
                  "orders:0=1500,payments:0=0)");
}

}  // namespace millrace
