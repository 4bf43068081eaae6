# `cmake --install` gives bin/tfcc, lib/tfcc (the runtime that trainers link with) and a CMake package with
# tfcc_add_model(). The build tree has the same layout, so tfcc finds its runtime the same way in both.
set(runtime_dir ${CMAKE_BINARY_DIR}/lib/tfcc)
set_target_properties(tfcc_rt tfcc_linalg PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${runtime_dir})
foreach(header tfcc_rt.h tfcc.h)
  file(COPY ${PROJECT_SOURCE_DIR}/runtime/include/${header} DESTINATION ${runtime_dir})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/runtime/include/${header})
endforeach()
file(CONFIGURE OUTPUT ${runtime_dir}/link.txt CONTENT "@TFCC_RT_LINK@\n" @ONLY)
file(CONFIGURE OUTPUT ${runtime_dir}/link_linalg.txt CONTENT "@TFCC_LINALG_LINK@\n" @ONLY)

include(CMakePackageConfigHelpers)
set(TFCC_INSTALL_RUNTIMEDIR lib/tfcc)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tfcc)
configure_package_config_file(cmake/tfccConfig.cmake.in ${CMAKE_BINARY_DIR}/tfccConfig.cmake
  INSTALL_DESTINATION ${package_dir} PATH_VARS CMAKE_INSTALL_BINDIR TFCC_INSTALL_RUNTIMEDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/tfccConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS tfcc RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
configure_file(cmake/tfcc.pc.in ${CMAKE_BINARY_DIR}/lib/pkgconfig/tfcc.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/lib/pkgconfig/tfcc.pc DESTINATION lib/pkgconfig)
install(FILES $<TARGET_FILE:tfcc_rt> $<TARGET_FILE:tfcc_linalg> ${runtime_dir}/tfcc_rt.h ${runtime_dir}/tfcc.h ${runtime_dir}/link.txt
  ${runtime_dir}/link_linalg.txt DESTINATION ${TFCC_INSTALL_RUNTIMEDIR})
install(FILES ${CMAKE_BINARY_DIR}/tfccConfig.cmake ${CMAKE_BINARY_DIR}/tfccConfigVersion.cmake
  cmake/tfccModel.cmake DESTINATION ${package_dir})
