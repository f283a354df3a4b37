#include "common/model/address.h"

#include <charconv>

namespace millrace {

std::string HostPort::text() const {
  const bool brackets = host.find(':') != std::string::npos;
  return (brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<HostPort> parse_address(const std::string& what, const std::string& text) {
  const auto wrong = [&](const std::string& why) {
    return fail(ErrorCode::kInvalid, what + " '" + text + "' is not HOST:PORT: " + why);
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return wrong("the port is missing, e.g. 127.0.0.1:7071");
  HostPort address;
  address.host = text.substr(0, colon);
  if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']') {
    address.host = address.host.substr(1, address.host.size() - 2);
  } else if (address.host.find_first_of(":/@[] ") != std::string::npos) {
    return wrong("the host is malformed; an IPv6 host stands in brackets, e.g. [::1]:7071");
  }
  if (address.host.empty()) return wrong("the host is missing, e.g. 127.0.0.1:7071");
  const char* begin = text.data() + colon + 1;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, address.port);
  if (begin == end || stop != end || error != std::errc()) return wrong("the port is no number from 0 to 65535");
  return address;
}

bool is_loopback(const std::string& host) {
  // No name of the domain name system ends with a number.
  const bool is_number = host.find_first_not_of("0123456789.") == std::string::npos;
  return (is_number && host.starts_with("127.")) || host == "localhost" || host == "::1";
}

}  // namespace millrace
