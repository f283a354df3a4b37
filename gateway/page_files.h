// The files of gateway/page, which are part of the program.
#pragma once

#include <span>
#include <string_view>

namespace millrace {

struct PageFile {
  std::string_view name;  // style.css
  std::string_view type;  // its Content-Type
  std::string_view tag;   // an ETag of its text
  std::string_view text;
};

std::span<const PageFile> page_files();

}  // namespace millrace
