# millrace_embed(SOURCE FILES...): writes SOURCE, which has the files (text, below the caller's folder) as PageFiles of
# gateway/page_files.h. Run as a script (cmake -P) it does the writing.
function(millrace_embed source)
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE files)
  string(REPLACE ";" "," joined "${files}")
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${source} -DFILES=${joined} -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  return()
endif()

set(type_.html "text/html; charset=utf-8")
set(type_.css "text/css; charset=utf-8")
set(type_.js "text/javascript; charset=utf-8")
set(type_.json "application/json")
set(type_.svg "image/svg+xml")

string(REPLACE "," ";" FILES "${FILES}")
set(code "// Made by cmake/embed.cmake.\n#include \"gateway/page_files.h\"\n\nnamespace millrace {\n\n")
string(APPEND code "std::span<const PageFile> page_files() {\n  static constexpr PageFile kFiles[] = {\n")
foreach(file ${FILES})
  file(READ ${file} text)
  file(SHA256 ${file} hash)
  string(SUBSTRING ${hash} 0 16 hash)
  cmake_path(GET file FILENAME name)
  cmake_path(GET file EXTENSION LAST_ONLY ending)
  if(NOT DEFINED type_${ending})
    message(FATAL_ERROR "${file}: no type is known for *${ending}")
  endif()
  string(APPEND code "      {\"${name}\", \"${type_${ending}}\", \"\\\"${hash}\\\"\", R\"millrace(${text})millrace\"},\n")
endforeach()
string(APPEND code "  };\n  return kFiles;\n}\n\n}  // namespace millrace\n")
file(WRITE ${SOURCE} "${code}")
