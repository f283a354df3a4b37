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

std::string encoded(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
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

bool decode(std::string_view text, std::string& bytes) {
  while (!text.empty()) {
    if (!take_byte(text, bytes)) return false;
  }
  return true;
}

// A number that is not negative, and the byte behind it.
template <typename T>
bool take_number(std::string_view& text, char behind, T& number) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto read = std::from_chars(begin, end, number);
  if (read.ec != std::errc() || read.ptr == end || *read.ptr != behind || number < 0) return false;
  text.remove_prefix(static_cast<size_t>(read.ptr + 1 - begin));
  return true;
}

}  // namespace

std::string cursor_text(const wire::IndexMember& last) {
  return std::to_string(last.count) + ":" + encoded(last.member);
}

Result<wire::IndexMember> parse_cursor(const std::string& text) {
  wire::IndexMember member;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, member.count);
  const bool parsed =
      error == std::errc() && stop != end && *stop == ':' && decode(std::string_view(stop + 1, end), member.member);
  if (parsed) return member;
  return fail(ErrorCode::kInvalid, "'" + printable(std::string_view(text).substr(0, 64)) +
                                       "' is no cursor of a page of an index; take the one that the page before gave");
}

std::string cursor_text(const PageCursor& last) {
  return to_string(last.job) + "-" + std::to_string(last.incarnation.value()) + "-" +
         std::to_string(last.batch.value()) + ":" + encoded(last.key);
}

Result<PageCursor> parse_page_cursor(const std::string& text) {
  PageCursor cursor;
  const size_t job_end = text.find('-');
  int32_t incarnation = 0;
  int64_t batch = 0;
  bool parsed = job_end != std::string::npos;
  if (parsed) {
    cursor.job = JobId(parse_hex(text.substr(0, job_end)));
    std::string_view rest = std::string_view(text).substr(job_end + 1);
    parsed = cursor.job != JobId() && take_number(rest, '-', incarnation) && take_number(rest, ':', batch) &&
             batch > 0 && decode(rest, cursor.key);
  }
  cursor.incarnation = Incarnation(incarnation);
  cursor.batch = BatchId(batch);
  if (parsed) return cursor;
  return fail(ErrorCode::kInvalid, "'" + printable(std::string_view(text).substr(0, 64)) +
                                       "' is no cursor of a page; take the next_page of the page before");
}

}  // namespace millrace
