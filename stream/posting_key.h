// PostingKey: a key of an index and one of its members, as they stand in the bytes of stream/index_pairs.h.
#pragma once

#include <cstdint>
#include <string_view>

#include "stream/varint.h"

namespace millrace::internal {

struct PostingKey {
  std::string_view key, member;

  // False: these bytes are none.
  static bool parse(std::string_view bytes, PostingKey& parsed) {
    const char* at = bytes.data();
    const char* const end = at + bytes.size();
    uint64_t size = 0;
    if (!get_varint(at, end, size) || size > static_cast<uint64_t>(end - at)) return false;
    parsed.key = {at, size};
    parsed.member = {at + size, static_cast<size_t>(end - at) - size};
    return true;
  }
};

}  // namespace millrace::internal
