# millrace_thrift(NAME FILE OUTPUTS...): a library of the code that the Thrift compiler makes of FILE.
function(millrace_thrift name file)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${name})
  list(TRANSFORM ARGN PREPEND ${out}/ OUTPUT_VARIABLE outputs)
  # The headers are outputs too, or what includes them would be built from the old ones after a change of FILE.
  list(TRANSFORM outputs REPLACE "\\.cpp$" ".h" OUTPUT_VARIABLE headers)
  add_custom_command(OUTPUT ${outputs} ${headers}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${out}
    COMMAND ${THRIFT_COMPILER} --gen cpp:no_skeleton,moveable_types -out ${out} ${CMAKE_CURRENT_SOURCE_DIR}/${file}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file} VERBATIM)
  add_library(${name} STATIC ${outputs})
  target_include_directories(${name} SYSTEM PUBLIC ${out})
  target_compile_options(${name} PRIVATE -w)
  target_link_libraries(${name} PUBLIC PkgConfig::THRIFT)
  if(MILLRACE_SANITIZE)
    # Not for undefined behaviour: the largest file of all takes four times as long to compile then.
    target_compile_options(${name} PRIVATE -fsanitize=${MILLRACE_SANITIZE} -fno-sanitize=undefined)
  endif()
endfunction()
