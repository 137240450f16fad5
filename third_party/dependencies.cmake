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

# libjpeg-turbo: decodes JPEGs, to the same samples as PIL and torchvision. The static library where there is one.
find_path(ACTMATCH_TURBOJPEG_INCLUDE turbojpeg.h)
find_library(ACTMATCH_TURBOJPEG_LIBRARY NAMES libturbojpeg.a turbojpeg)
if(NOT ACTMATCH_TURBOJPEG_INCLUDE OR NOT ACTMATCH_TURBOJPEG_LIBRARY)
  message(FATAL_ERROR "libjpeg-turbo (its TurboJPEG interface) not found: install libturbojpeg0-dev")
endif()
add_library(actmatch_turbojpeg INTERFACE)
target_include_directories(actmatch_turbojpeg SYSTEM INTERFACE ${ACTMATCH_TURBOJPEG_INCLUDE})
target_link_libraries(actmatch_turbojpeg INTERFACE ${ACTMATCH_TURBOJPEG_LIBRARY})

# stb_image: decodes other pictures, stb_image_write writes PNG. CLI11: the command line. nlohmann-json: recipes and results.
find_path(ACTMATCH_STB_INCLUDE stb/stb_image.h REQUIRED)
add_library(actmatch_stb INTERFACE)
target_include_directories(actmatch_stb SYSTEM INTERFACE ${ACTMATCH_STB_INCLUDE})
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)

# CUDA: the kernels for GPUs. AUTO builds them where a usable nvcc is found; everything else builds and passes its tests without.
set(ACTMATCH_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO, ON or OFF")
set(ACTMATCH_CUDA_ARCHITECTURES "80;90" CACHE STRING "GPU architectures, as for CMAKE_CUDA_ARCHITECTURES; a plain number includes PTX for newer ones")
set(ACTMATCH_CUDA_FOUND OFF)
if(ACTMATCH_CUDA)
  find_program(ACTMATCH_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(NOT ACTMATCH_NVCC)
    set(problem "nvcc was not found: add it to PATH, or set CUDA_HOME")
  else()
    # Asked before it is enabled, because enabling a compiler that does not get on with this C++ compiler ends the whole configuration.
    execute_process(COMMAND ${ACTMATCH_NVCC} --version OUTPUT_VARIABLE nvcc_version ERROR_QUIET)
    string(REGEX MATCH "release ([0-9]+)" nvcc_version "${nvcc_version}")
    if(NOT CMAKE_MATCH_1 OR CMAKE_MATCH_1 LESS 12)
      set(problem "${ACTMATCH_NVCC} (${nvcc_version}) is not of CUDA 12 or newer, which C++20 needs: set ACTMATCH_NVCC to one that is")
    else()
      set(ENV{CUDACXX} ${ACTMATCH_NVCC})
      include(CheckLanguage)
      check_language(CUDA)
      if(NOT CMAKE_CUDA_COMPILER)
        unset(CMAKE_CUDA_COMPILER CACHE)
        set(problem "${ACTMATCH_NVCC} does not work with ${CMAKE_CXX_COMPILER}: set CUDAHOSTCXX to a C++ compiler that it takes")
      endif()
    endif()
  endif()
  if(NOT problem)
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
  elseif(ACTMATCH_CUDA STREQUAL "AUTO")
    message(STATUS "Without the CUDA kernels: ${problem}")
  else()
    message(FATAL_ERROR "ACTMATCH_CUDA is ${ACTMATCH_CUDA}, but ${problem}")
  endif()
endif()

# GoogleTest: the tests only.
if(ACTMATCH_TESTS)
  find_package(GTest REQUIRED)
endif()
