#include "stream/event_key.h"

namespace millrace::internal {

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
  if (utc_text(begin_ms) != text.substr(border + 1)) return false;  // no key's text
  key = text.substr(0, border);
  return true;
}

}  // namespace millrace::internal
