// A position in the changes of a job as text: 82c6ab27d081a61f-1-500, of its id, its incarnation and a batch.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "millrace_types.h"

namespace millrace {

inline std::string position_text(const api::AsOf& as_of) {
  return as_of.job_id + "-" + std::to_string(as_of.incarnation) + "-" + std::to_string(as_of.batch);
}

// kInvalid.
inline Result<api::AsOf> parse_position(std::string_view text) {
  const auto malformed = [text] {
    return fail(ErrorCode::kInvalid, "'" + std::string(text) +
                                         "' is no position; one is JOB-INCARNATION-BATCH, as 82c6ab27d081a61f-1-500, "
                                         "and an earlier answer said it");
  };
  const size_t first = text.find('-');
  const size_t second = text.find('-', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return malformed();
  const auto number = [text](size_t from, size_t to, auto& value) {
    const char* const end = text.data() + to;
    const auto parsed = std::from_chars(text.data() + from, end, value);
    return parsed.ec == std::errc() && parsed.ptr == end && value >= 0;
  };
  api::AsOf as_of;
  as_of.job_id = text.substr(0, first);
  if (parse_hex(as_of.job_id) == 0 || !number(first + 1, second, as_of.incarnation) ||
      !number(second + 1, text.size(), as_of.batch)) {
    return malformed();
  }
  return as_of;
}

}  // namespace millrace
