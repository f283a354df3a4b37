// JobShape: how a job is put together, for people to look at; nothing is decided by it. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace millrace {

struct JobPart {
  enum class Kind { kSource, kChain, kState, kTable, kOutput };

  Kind kind = Kind::kSource;
  std::string name;                // of a chain: its operators, "lines, flat_map, filter"
  std::vector<std::string> facts;  // one sentence each
  int32_t stage = 0;               // so many shuffles lie before it
  std::vector<size_t> from;        // the parts whose values it takes, all of them earlier ones

  bool operator==(const JobPart&) const = default;
};

using JobShape = std::vector<JobPart>;

}  // namespace millrace
