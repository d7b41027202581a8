# SPDX-License-Identifier: Apache-2.0
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
install(TARGETS codecllm EXPORT codecllmTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/codecllm DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT codecllmTargets NAMESPACE codecllm:: FILE codecllmConfig.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/codecllm)
write_basic_package_version_file(codecllmConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/codecllmConfigVersion.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/codecllm)
if(TARGET codecllm_cli)
  install(TARGETS codecllm_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
