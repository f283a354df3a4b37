#include "stream/codec.h"

namespace millrace {

void append_key_part(std::string& out, std::string_view part) {
  for (const char each : part) {
    switch (each) {
      case '\t': out += "\\t"; break;
      case '\n': out += "\\n"; break;
      case '\\': out += "\\\\"; break;
      default: out += each;
    }
  }
}

bool take_key_part(std::optional<std::string_view>& rest, std::string& part) {
  if (!rest) return false;
  part.clear();
  for (size_t i = 0; i < rest->size(); ++i) {
    const char each = (*rest)[i];
    if (each == '\t') {
      rest = rest->substr(i + 1);
      return true;
    }
    if (each != '\\') {
      part += each;
      continue;
    }
    if (++i == rest->size()) return false;
    switch ((*rest)[i]) {
      case 't': part += '\t'; break;
      case 'n': part += '\n'; break;
      case '\\': part += '\\'; break;
      default: return false;
    }
  }
  rest.reset();
  return true;
}

}  // namespace millrace
