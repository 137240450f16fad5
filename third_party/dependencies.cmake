# Where each dependency comes from and why it is here. Nothing is vendored: the system's package first.
# (README.md beside this file says the same for people.)

# protobuf: reads ONNX files. Linked statically, so that the binary does not depend on the distribution's soname.
set(Protobuf_USE_STATIC_LIBS ON)
find_package(Protobuf REQUIRED)
find_package(Threads REQUIRED)

# onnx.proto: the schema of ONNX files, compiled at build time; from Debian's libonnx-dev.
find_path(ACTMATCH_ONNX_PROTO_DIR onnx/onnx.proto DOC "Folder that holds onnx/onnx.proto (Debian: libonnx-dev)")
if(NOT ACTMATCH_ONNX_PROTO_DIR)
  message(FATAL_ERROR "onnx/onnx.proto not found: install libonnx-dev, or set ACTMATCH_ONNX_PROTO_DIR")
endif()

# oneDNN: convolutions, matrix products and pooling of the CPU backend.
find_path(ACTMATCH_DNNL_INCLUDE oneapi/dnnl/dnnl.hpp)
find_library(ACTMATCH_DNNL_LIBRARY dnnl)
if(NOT ACTMATCH_DNNL_INCLUDE OR NOT ACTMATCH_DNNL_LIBRARY)
  message(FATAL_ERROR "oneDNN not found: install libdnnl-dev")
endif()
add_library(actmatch_dnnl INTERFACE)
target_include_directories(actmatch_dnnl SYSTEM INTERFACE ${ACTMATCH_DNNL_INCLUDE})
target_link_libraries(actmatch_dnnl INTERFACE ${ACTMATCH_DNNL_LIBRARY})

# OpenMP: the threads of the CPU backend's own loops; the same runtime as oneDNN's.
find_package(OpenMP REQUIRED COMPONENTS CXX)

# stb_image: decodes pictures. CLI11: the command line. nlohmann-json: recipes and results.
find_path(ACTMATCH_STB_INCLUDE stb/stb_image.h REQUIRED)
add_library(actmatch_stb INTERFACE)
target_include_directories(actmatch_stb SYSTEM INTERFACE ${ACTMATCH_STB_INCLUDE})
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)

# CUDA: the kernels for GPUs. AUTO builds them where nvcc is found; everything else builds and passes its tests without.
set(ACTMATCH_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO, ON or OFF")
set(ACTMATCH_CUDA_ARCHITECTURES "80;90" CACHE STRING "GPU architectures, as for CMAKE_CUDA_ARCHITECTURES; a plain number includes PTX for newer ones")
set(ACTMATCH_CUDA_FOUND OFF)
if(ACTMATCH_CUDA)
  find_program(ACTMATCH_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(ACTMATCH_NVCC)
    set(CMAKE_CUDA_COMPILER ${ACTMATCH_NVCC} CACHE FILEPATH "CUDA compiler")
    set(CMAKE_CUDA_ARCHITECTURES ${ACTMATCH_CUDA_ARCHITECTURES})
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc has it
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    set(CMAKE_CUDA_STANDARD 20)
    find_package(CUDAToolkit REQUIRED)
    set(ACTMATCH_CUDA_FOUND ON)
  elseif(NOT ACTMATCH_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "ACTMATCH_CUDA is ${ACTMATCH_CUDA}, but nvcc was not found: add it to PATH, or set CUDA_HOME")
  endif()
endif()

# GoogleTest: the tests only.
if(ACTMATCH_TESTS)
  find_package(GTest REQUIRED)
endif()
