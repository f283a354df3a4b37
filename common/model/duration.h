// Durations as people write them: a whole number and a unit.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/error.h"

namespace millrace {

// 100ms, 1s, 5m, 1h; from 1 ms. kInvalid: it is none.
Result<int64_t> parse_duration_ms(const std::string& text);
// 100 -> "100ms", 60000 -> "1m".
std::string duration_text_ms(int64_t ms);

}  // namespace millrace
