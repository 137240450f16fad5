# Backends in modules (engine/backend/module.h).
include(GNUInstallDirs)

# The stamp that keeps modules of another build out. Made at build time, because headers change between configurations.
file(GLOB module_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/engine/core/*.h ${PROJECT_SOURCE_DIR}/engine/graph/*.h
     ${PROJECT_SOURCE_DIR}/engine/backend/*.h ${PROJECT_SOURCE_DIR}/kernels/*.h)
string(TOUPPER "${CMAKE_BUILD_TYPE}" build_type)
set(module_flags "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${build_type}} ${CMAKE_SYSTEM_PROCESSOR} ${ACTMATCH_SANITIZE}")
string(REPLACE ";" "|" module_header_list "${module_headers}")
set(module_stamp ${CMAKE_CURRENT_BINARY_DIR}/generated/engine/backend/module_stamp.h)
add_custom_command(
  OUTPUT ${module_stamp}
  COMMAND ${CMAKE_COMMAND} "-DHEADERS=${module_header_list}" "-DFLAGS=${module_flags}" -DVERSION=${PROJECT_VERSION} -DOUT=${module_stamp}
          -P ${CMAKE_CURRENT_LIST_DIR}/module_stamp.cmake
  DEPENDS ${module_headers} ${CMAKE_CURRENT_LIST_DIR}/module_stamp.cmake
  COMMENT "Stamping the modules' interface" VERBATIM)
target_sources(actmatch_engine PRIVATE ${module_stamp})

# Where an installed program finds its modules: from the program's folder, and, for programs of others that embed the library, absolutely.
file(RELATIVE_PATH modules_from_program ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR}/actmatch)
set_source_files_properties(backend/module.cpp PROPERTIES COMPILE_DEFINITIONS
  "ACTMATCH_MODULES_FROM_PROGRAM=\"${modules_from_program}\";ACTMATCH_MODULES_INSTALLED=\"${CMAKE_INSTALL_FULL_LIBDIR}/actmatch\"")
target_link_libraries(actmatch_engine PRIVATE ${CMAKE_DL_LIBS})

# A module with its own copy of the engine, which shows nothing but its entry function and needs nothing that is not linked to it.
function(actmatch_add_module target name)
  add_library(${target} MODULE ${ARGN})
  set_target_properties(${target} PROPERTIES OUTPUT_NAME actmatch_${name} CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    LINK_DEPENDS ${PROJECT_SOURCE_DIR}/engine/cmake/module.map)
  target_link_libraries(${target} PRIVATE actmatch_engine actmatch_options)
  target_link_options(${target} PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/engine/cmake/module.map)
  if(NOT ACTMATCH_SANITIZE)  # whose runtime may be in the program alone
    target_link_options(${target} PRIVATE -Wl,-z,defs)
  endif()
endfunction()

if(ACTMATCH_CUDNN_FOUND AND ACTMATCH_CUBLAS_FOUND AND EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/backend/cuda/cuda_backend.cpp)
  file(GLOB cuda_backend_sources CONFIGURE_DEPENDS backend/cuda/cuda_*.cpp backend/cuda/ops/*.cpp)
  actmatch_add_module(actmatch_cuda cuda ${cuda_backend_sources})
  target_link_libraries(actmatch_cuda PRIVATE actmatch_cudnn actmatch_cublas actmatch_cuda_kernels CUDA::cudart_static)
  set_target_properties(actmatch_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR} INSTALL_RPATH_USE_LINK_PATH ON)
  if(ACTMATCH_INSTALL)
    install(TARGETS actmatch_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/actmatch)
  endif()
endif()
