# What an embedder gets: the headers, one static library, and a package for find_package.
#
# One library, because the targets behind `actmatch` are an inner affair: their archives and protobuf's are put together into
# libactmatch.a, so that no outside project has to find them again. A shared library would hide more, but Debian's libprotobuf.a is not
# position-independent and cannot go into one.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(bundle ${CMAKE_CURRENT_BINARY_DIR}/bundle/libactmatch.a)
set(parts "")
foreach(target actmatch actmatch_onnx_import actmatch_onnx_proto actmatch_engine actmatch_kernels protobuf::libprotobuf)
  string(APPEND parts "ADDLIB $<TARGET_FILE:${target}>\n")
endforeach()
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/bundle/bundle.mri CONTENT "CREATE ${bundle}\n${parts}SAVE\nEND\n")
add_custom_command(
  OUTPUT ${bundle}
  COMMAND ${CMAKE_COMMAND} -DAR=${CMAKE_AR} -DSCRIPT=${CMAKE_CURRENT_BINARY_DIR}/bundle/bundle.mri -P ${CMAKE_CURRENT_LIST_DIR}/bundle.cmake
  DEPENDS actmatch actmatch_onnx_import actmatch_onnx_proto actmatch_engine actmatch_kernels ${CMAKE_CURRENT_BINARY_DIR}/bundle/bundle.mri
  COMMENT "Putting libactmatch.a together" VERBATIM)
add_custom_target(actmatch_bundle ALL DEPENDS ${bundle})

get_filename_component(actmatch_dnnl_folder ${ACTMATCH_DNNL_LIBRARY} DIRECTORY)
set(actmatch_arrow_libraries "")
if(TARGET Parquet::parquet_shared)
  message(STATUS "The installed library will need Arrow's package: projects call find_package(Parquet) before find_package(actmatch)")
  set(actmatch_arrow_libraries "Parquet::parquet_shared;")
elseif(TARGET actmatch_arrow)
  string(JOIN ";" actmatch_arrow_libraries ${arrow_libraries} "")
endif()
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/actmatchConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/actmatchConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/actmatch PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/actmatchConfigVersion.cmake COMPATIBILITY SameMinorVersion)

install(FILES ${bundle} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/engine/include/actmatch DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/actmatchConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/actmatchConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/actmatch)
