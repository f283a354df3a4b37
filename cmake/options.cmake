# Flags of every target of this project.
add_library(millrace_options INTERFACE)
target_compile_options(millrace_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
  -Woverloaded-virtual -Wno-missing-field-initializers -fno-omit-frame-pointer)
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Several sources as one include each other, which GCC takes for a header with an unnamed namespace.
  target_compile_options(millrace_options INTERFACE -Wno-subobject-linkage)
endif()
if(MILLRACE_WERROR)
  target_compile_options(millrace_options INTERFACE -Werror)
endif()
if(MILLRACE_SANITIZE)
  target_compile_options(millrace_options INTERFACE -fsanitize=${MILLRACE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(millrace_options INTERFACE -fsanitize=${MILLRACE_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # A check before each access, a quarter of the build's time: AddressSanitizer stops at null all the same, and
    # what parses is checked for alignment by the fuzz targets, which clang builds.
    target_compile_options(millrace_options INTERFACE -fno-sanitize=null,alignment)
  endif()
endif()
target_include_directories(millrace_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(millrace_options INTERFACE MILLRACE_VERSION="${PROJECT_VERSION}")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Below 1 GB GCC collects no garbage: up to a tenth of a build's time.
  add_compile_options(--param=ggc-min-heapsize=1000000)
  # Sources that are compiled as one are included by their full paths, which CHECK keeps: shortened, or ccache would
  # compile them anew for a clone elsewhere.
  add_compile_options(-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
endif()

find_program(MOLD mold)
if(MOLD)
  target_link_options(millrace_options INTERFACE -fuse-ld=mold)
endif()
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# A library of jobs works with the engine where these are the same: they are what both sides exchange.
set(interface "")
foreach(header stream/job.h stream/job_library.h common/base/buffer.h common/base/error.h common/base/ids.h common/model/hash.h
    common/model/job_plan.h common/model/job_shape.h common/model/shuffle_block.h
    common/model/watermark.h common/seams/checkpoint_store.h common/seams/output.h common/seams/sink.h)
  file(SHA256 ${PROJECT_SOURCE_DIR}/${header} hash)
  string(APPEND interface ${hash})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${header})
endforeach()
string(SHA256 interface "${interface}")
string(SUBSTRING ${interface} 0 12 interface)
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/millrace/interface.h CONTENT
  "#pragma once\n#define MILLRACE_INTERFACE \"Millrace ${PROJECT_VERSION}, interface ${interface}\"\n")
target_include_directories(millrace_options INTERFACE ${PROJECT_BINARY_DIR}/generated)

# millrace_library(NAME SOURCES ... LIBRARIES ... [LIGHT]): one library per folder, sources in the order of the data's
# way. LIGHT: no time is spent in it that anybody waits for, and a fifth of its compilation is optimising.
function(millrace_library name)
  cmake_parse_arguments(ARG "LIGHT" "" "SOURCES;LIBRARIES" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC $<BUILD_INTERFACE:millrace_options> ${ARG_LIBRARIES})
  if(ARG_LIGHT)
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
endfunction()

# The headers that every test includes are compiled once. Not by clang: what it builds shows a missing #include.
function(millrace_precompile_test_headers)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/test_headers.cc CONTENT "")
  add_library(millrace_test_headers OBJECT ${PROJECT_BINARY_DIR}/test_headers.cc)
  target_link_libraries(millrace_test_headers PRIVATE millrace_options GTest::gmock)
  target_compile_options(millrace_test_headers PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O0> -fpch-preprocess)
  target_compile_definitions(millrace_test_headers PRIVATE _FILE_OFFSET_BITS=64)
  target_precompile_headers(millrace_test_headers PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
endfunction()

# millrace_test(NAME SOURCES ... LIBRARIES ... [LABELS ...]): a GoogleTest program and its ctest entry.
# Its folder's name (unit, conformance, sim) is a label of it. The label tsan: has threads of its own.
function(millrace_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE millrace_options ${ARG_LIBRARIES} GTest::gmock GTest::gtest_main)
  # What they test is optimised; they themselves need not be, and half of a build is tests.
  target_compile_options(${name} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O0>)
  if(TARGET millrace_test_headers)
    target_compile_options(${name} PRIVATE -fpch-preprocess)
    target_compile_definitions(${name} PRIVATE _FILE_OFFSET_BITS=64)  # as some libraries say, so that all are the same
    target_precompile_headers(${name} REUSE_FROM millrace_test_headers)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  list(APPEND ARG_LABELS ${folder})
  list(REMOVE_DUPLICATES ARG_LABELS)
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan_suppressions")
endfunction()
