# `cmake --install`: the programs, and what projects need that define jobs (find_package(Millrace)).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS millrace-master millrace-worker millrace-gateway millrace RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# The libraries of a job end up in a shared library of the user's.
set(job_libraries millrace_base millrace_model millrace_seams millrace_stream millrace_testing)
# What `cmake --install` needs, without the tests.
add_custom_target(millrace_installed DEPENDS millrace-master millrace-worker millrace-gateway millrace ${job_libraries})

set(headers ${CMAKE_INSTALL_INCLUDEDIR}/millrace)
foreach(library ${job_libraries})
  set_target_properties(${library} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${library} PRIVATE -fno-semantic-interposition)
  target_include_directories(${library} INTERFACE $<INSTALL_INTERFACE:${headers}>)
  target_compile_features(${library} PUBLIC cxx_std_23)
endforeach()
install(TARGETS ${job_libraries} EXPORT MillraceTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(folder common/base common/model stream millrace)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder}/ DESTINATION ${headers}/${folder} FILES_MATCHING PATTERN "*.h")
endforeach()
install(FILES ${PROJECT_SOURCE_DIR}/common/seams/checkpoint_store.h ${PROJECT_SOURCE_DIR}/common/seams/output.h
  ${PROJECT_SOURCE_DIR}/common/seams/sink.h DESTINATION ${headers}/common/seams)
install(FILES ${PROJECT_BINARY_DIR}/generated/millrace/interface.h DESTINATION ${headers}/millrace)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/template DESTINATION ${CMAKE_INSTALL_DATADIR}/millrace)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/Millrace)
install(EXPORT MillraceTargets NAMESPACE Millrace:: DESTINATION ${package})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/MillraceConfig.cmake.in
  ${PROJECT_BINARY_DIR}/MillraceConfig.cmake INSTALL_DESTINATION ${package})
# Exact, since libraries of jobs of another version are refused anyway.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/MillraceConfigVersion.cmake COMPATIBILITY ExactVersion)
install(FILES ${PROJECT_BINARY_DIR}/MillraceConfig.cmake ${PROJECT_BINARY_DIR}/MillraceConfigVersion.cmake
  DESTINATION ${package})
