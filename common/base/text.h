// Text from outside, made safe to show: in logs and on terminals.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

// Control characters (C0, DEL, and C1 as UTF-8) and bytes that are no UTF-8 become \n, \t, \r, \\ or \xHH, so that
// the text stays on its line and cannot steer a terminal. Everything else stays as it is.
std::string printable(std::string_view text);
// Code points, the closest to columns that does without tables.
size_t width_of(std::string_view text);

}  // namespace millrace
