// HostPort: a network address as people write it: HOST:PORT, with an IPv6 host in brackets: [::1]:7071.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/error.h"

namespace millrace {

struct HostPort {
  std::string host;  // without brackets
  uint16_t port = 0;

  [[nodiscard]] std::string text() const;  // HOST:PORT again
  bool operator==(const HostPort&) const = default;
};

// `what` names the setting in the error, e.g. "--api". kInvalid: not of this form, or a port above 65535.
Result<HostPort> parse_address(const std::string& what, const std::string& text);

// A host that only programs on the same machine can mean by this name: localhost, 127.0.0.0/8, ::1.
bool is_loopback(const std::string& host);

}  // namespace millrace
