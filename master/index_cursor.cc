#include "master/index_cursor.h"

#include <charconv>
#include <string_view>

#include "common/base/text.h"

namespace millrace {
namespace {

constexpr std::string_view kPlain = "-._~ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::string_view kHexDigits = "0123456789ABCDEF";

// False: it is none of one of them.
bool take_byte(std::string_view& rest, std::string& bytes) {
  if (rest.front() != '%') {
    bytes += rest.front();
    rest.remove_prefix(1);
    return true;
  }
  if (rest.size() < 3) return false;
  const size_t high = kHexDigits.find(rest[1]);
  const size_t low = kHexDigits.find(rest[2]);
  if (high == std::string_view::npos || low == std::string_view::npos) return false;
  bytes += static_cast<char>(16 * high + low);
  rest.remove_prefix(3);
  return true;
}

}  // namespace

std::string cursor_text(const wire::IndexMember& last) {
  std::string text = std::to_string(last.count) + ":";
  for (const char byte : last.member) {
    if (kPlain.find(byte) != std::string_view::npos) {
      text += byte;
      continue;
    }
    const auto number = static_cast<uint8_t>(byte);
    text += '%';
    text += kHexDigits[number / 16];
    text += kHexDigits[number % 16];
  }
  return text;
}

Result<wire::IndexMember> parse_cursor(const std::string& text) {
  wire::IndexMember member;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, member.count);
  bool parsed = error == std::errc() && stop != end && *stop == ':';
  if (parsed) {
    for (std::string_view rest(stop + 1, end); parsed && !rest.empty();) parsed = take_byte(rest, member.member);
  }
  if (parsed) return member;
  return fail(ErrorCode::kInvalid, "'" + printable(std::string_view(text).substr(0, 64)) +
                                       "' is no cursor of a page of an index; take the one that the page before gave");
}

}  // namespace millrace
