// Times as people write them: in UTC, as 2026-11-21T20:30:00Z or with milliseconds, 2026-11-21T20:30:00.250Z.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace {

// Unix milliseconds of the years 0 to 9999 as text; with milliseconds where there are some.
void append_utc(std::string& out, int64_t time_ms);
std::string utc_text(int64_t time_ms);
// False: it is no such time, and `time_ms` as it was.
bool parse_utc(std::string_view text, int64_t& time_ms);

}  // namespace millrace
