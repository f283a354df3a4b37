// Bytes of a protocol, written in tests as hex digits; spaces are for people.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

inline std::string from_hex(std::string_view text) {
  std::string digits;
  for (const char digit : text) {
    if (digit != ' ') digits += digit;
  }
  std::string bytes;
  for (size_t at = 0; at + 1 < digits.size(); at += 2) {
    bytes += static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16));
  }
  return bytes;
}

}  // namespace millrace
