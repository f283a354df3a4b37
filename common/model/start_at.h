// Where a job begins to read its source.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace {

struct StartAt {
  enum class Place { kEarliest, kLatest, kTime, kOffsets };
  Place place = Place::kEarliest;
  int64_t time_ms = 0;  // Unix; of kTime
  // Of kOffsets: by topic, which is empty where none is named, and the partition's number in it; one at least.
  std::map<std::pair<std::string, int32_t>, Offset> offsets;
};

// earliest; latest; a time in UTC, as 2026-11-21T20:30:00Z or with milliseconds 2026-11-21T20:30:00.250Z; the offset of
// each partition, as 0=1500,1=0 or with its topic orders:0=1500,payments:0=0. kInvalid: it is none of these.
Result<StartAt> parse_start(const std::string& text);

}  // namespace millrace
