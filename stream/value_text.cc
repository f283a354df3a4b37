#include "stream/value_text.h"

#include <unicode/utf8.h>

#include <cstdint>

namespace millrace::internal {

void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto size = static_cast<int64_t>(text.size());
  out += '"';
  for (int64_t at = 0; at < size;) {
    const int64_t begin = at;
    UChar32 character = 0;
    U8_NEXT(text.data(), at, size, character);  // NOLINT: ICU's own way of writing it
    switch (character) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      default:
        if (character < 0) {
          out += "\xEF\xBF\xBD";
        } else if (character < 0x20) {
          out += "\\u00";
          out += kHex[static_cast<size_t>(character) / 16];
          out += kHex[static_cast<size_t>(character) % 16];
        } else {
          out.append(text, static_cast<size_t>(begin), static_cast<size_t>(at - begin));
        }
    }
  }
  out += '"';
}

}  // namespace millrace::internal
