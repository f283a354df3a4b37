// hash_of: XXH3-64, the hash of files, manifests and blocks.
#pragma once

#include <cstdint>
#include <string_view>

namespace millrace {

uint64_t hash_of(std::string_view bytes);

}  // namespace millrace
