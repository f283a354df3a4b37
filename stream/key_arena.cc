#include "stream/key_arena.h"

#include <xxhash.h>

namespace millrace {

uint64_t hash_long_key(std::string_view key) {
  return XXH3_64bits(key.data(), key.size());
}

}  // namespace millrace
