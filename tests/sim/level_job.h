// A job of two levels for tests, written by hand: level 1 counts words; level 2 counts how many words have each count,
// and keeps a digest of the words as they came to it and left it, so that the order of what level 1 emits shows. Both
// are published: a word as it is, a count N under the key "#N".
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "stream/job.h"

namespace millrace {

inline constexpr char kLevelJob[] = "levels";

struct LevelValue {
  int64_t count = 0;
  uint64_t digest = 0;  // of a word: 0

  [[nodiscard]] std::string text() const {
    return std::to_string(count) + (digest == 0 ? "" : " " + std::to_string(digest));
  }
};

// A word comes to a count, or leaves it.
inline void level_step(LevelValue& value, const std::string& word, bool comes) {
  value.count += comes ? 1 : -1;
  uint64_t hash = comes ? 17 : 71;
  for (const char letter : word) hash = hash * 1'000'003 + static_cast<uint8_t>(letter);
  value.digest = value.digest * 0x9E3779B97F4A7C15ULL + hash;
}

inline std::string level_key(int64_t count) {
  return "#" + std::to_string(count);
}

std::shared_ptr<const Job> make_level_job(int32_t state_partitions);

}  // namespace millrace
