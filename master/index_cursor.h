// Cursor of the pages of an index: behind which member the next one begins, as text for clients:
//
//   COUNT:MEMBER    the member's bytes percent-encoded, but for letters, digits and -._~
#pragma once

#include <string>

#include "common/base/error.h"
#include "wire_types.h"

namespace millrace {

std::string cursor_text(const wire::IndexMember& last);
// kInvalid: that was no cursor.
Result<wire::IndexMember> parse_cursor(const std::string& text);

}  // namespace millrace
