#include "stream/event_key.h"

#include <array>
#include <charconv>
#include <chrono>

#include "common/base/check.h"

namespace millrace {
namespace {

struct Place {
  size_t at;
  size_t digits;
};
// Year, month, day, hour, minute, second, millisecond.
constexpr std::array<Place, 7> kPlaces = {{{0, 4}, {5, 2}, {8, 2}, {11, 2}, {14, 2}, {17, 2}, {20, 3}}};
constexpr std::string_view kShort = "0000-00-00T00:00:00Z";
constexpr std::string_view kLong = "0000-00-00T00:00:00.000Z";

}  // namespace

// It is called for each value of a stream: no formatting by a library.
void append_utc(std::string& out, int64_t time_ms) {
  using namespace std::chrono;
  const sys_time<milliseconds> time{milliseconds(time_ms)};
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  CHECK(date.year() >= year(0) && date.year() <= year(9999)) << time_ms << " ms is no event time";
  const std::array<int64_t, 7> numbers = {static_cast<int>(date.year()),     static_cast<unsigned>(date.month()),
                                          static_cast<unsigned>(date.day()), clock.hours().count(),
                                          clock.minutes().count(),           clock.seconds().count(),
                                          clock.subseconds().count()};
  const std::string_view form = numbers.back() == 0 ? kShort : kLong;
  const size_t begin = out.size();
  out += form;
  for (size_t i = 0; i < kPlaces.size() && kPlaces[i].at < form.size(); ++i) {
    int64_t left = numbers[i];
    for (size_t digit = kPlaces[i].digits; digit-- != 0; left /= 10) {
      out[begin + kPlaces[i].at + digit] = static_cast<char>('0' + left % 10);
    }
  }
}

std::string utc_text(int64_t time_ms) {
  std::string text;
  append_utc(text, time_ms);
  return text;
}

bool parse_utc(std::string_view text, int64_t& time_ms) {
  using namespace std::chrono;
  if (text.size() != kShort.size() && text.size() != kLong.size()) return false;
  std::array<unsigned, 7> numbers{};
  for (size_t i = 0; i < kPlaces.size() && kPlaces[i].at < text.size(); ++i) {
    const char* const begin = text.data() + kPlaces[i].at;
    const char* const end = begin + kPlaces[i].digits;
    const auto parsed = std::from_chars(begin, end, numbers[i]);
    if (parsed.ec != std::errc() || parsed.ptr != end) return false;
  }
  const auto [y, m, d, hour, minute, second, rest] = numbers;
  const year_month_day date(year(static_cast<int>(y)), month(m), day(d));
  if (!date.ok()) return false;
  const auto time = sys_days(date) + hours(hour) + minutes(minute) + seconds(second) + milliseconds(rest);
  time_ms = time.time_since_epoch().count();
  return utc_text(time_ms) == text;
}

namespace internal {

std::string no_event_time(int64_t time_ms) {
  return "its event time of " + std::to_string(time_ms) + " ms since 1970 is none; one lies between 1970 and 9999";
}

std::string too_far_ahead(int64_t time_ms, int64_t batch_time_ms, int64_t ahead_ms) {
  return "its event time, " + utc_text(time_ms) + ", is more than " + std::to_string(ahead_ms) +
         " ms ahead of its batch's, " + utc_text(batch_time_ms) +
         "; a clock is wrong, or the job's event time allows too little ahead";
}

bool split_window_key(std::string_view text, std::string_view& key, int64_t& begin_ms) {
  const size_t border = text.rfind('@');
  if (border == std::string_view::npos || !parse_utc(text.substr(border + 1), begin_ms)) return false;
  key = text.substr(0, border);
  return true;
}

}  // namespace internal
}  // namespace millrace
