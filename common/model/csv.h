// Columns of lines by RFC 4180.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

// As it is, or in quotes where it has to be.
inline void append_csv_column(std::string& line, std::string_view column) {
  if (column.find_first_of(",\"\r\n") == std::string_view::npos) {
    line += column;
    return;
  }
  line += '"';
  for (const char byte : column) line.append(byte == '"' ? 2 : 1, byte);
  line += '"';
}

// One that spreadsheets would take for a formula has an apostrophe before it, by which they take it for text. Whole
// numbers stay.
inline void append_csv_text(std::string& line, std::string_view column) {
  const bool formula = !column.empty() && std::string_view("=+-@\t\r").contains(column[0]);
  const bool number = formula && column[0] == '-' && column.size() > 1 &&
                      column.find_first_not_of("0123456789", 1) == std::string_view::npos;
  append_csv_column(line, formula && !number ? "'" + std::string(column) : std::string(column));
}

}  // namespace millrace
