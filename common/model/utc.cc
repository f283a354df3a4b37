#include "common/model/utc.h"

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

// Called for each value of a stream: no formatting by a library.
void write_utc(std::string& out, int64_t time_ms, std::string_view form) {
  using namespace std::chrono;
  const sys_time<milliseconds> time{milliseconds(time_ms)};
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  CHECK(date.year() >= year(0) && date.year() <= year(9999)) << time_ms << " ms is not within ten thousand years";
  const std::array<int64_t, 7> numbers = {static_cast<int>(date.year()),     static_cast<unsigned>(date.month()),
                                          static_cast<unsigned>(date.day()), clock.hours().count(),
                                          clock.minutes().count(),           clock.seconds().count(),
                                          clock.subseconds().count()};
  const size_t begin = out.size();
  out += form;
  for (size_t i = 0; i < kPlaces.size() && kPlaces[i].at < form.size(); ++i) {
    int64_t left = numbers[i];
    for (size_t digit = kPlaces[i].digits; digit-- != 0; left /= 10) {
      out[begin + kPlaces[i].at + digit] = static_cast<char>('0' + left % 10);
    }
  }
}

}  // namespace

void append_utc(std::string& out, int64_t time_ms) {
  write_utc(out, time_ms, time_ms % 1000 == 0 ? kShort : kLong);
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
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return false;
  const auto time = sys_days(date) + hours(hour) + minutes(minute) + seconds(second) + milliseconds(rest);
  const int64_t parsed_ms = time.time_since_epoch().count();
  // What stands between the numbers shows where it is written again.
  std::string again;
  write_utc(again, parsed_ms, text.size() == kShort.size() ? kShort : kLong);
  if (again != text) return false;
  time_ms = parsed_ms;
  return true;
}

}  // namespace millrace
