// The CUDA backend: what the module (libactmatch_cuda.so) offers to the program that loads it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/backend.h"

namespace actmatch::cuda {

struct CudaDevice {
  int index = 0;
  std::string name;         // "NVIDIA H200"
  std::string description;  // for people: compute capability, memory, versions of driver, runtime and libraries
};

struct CudaOptions {
  int device = 0;
  Precision precision = Precision::kF32;
  std::function<void(const std::string&)> notice;  // one line about something that costs time but no result; may be empty
};

// Devices that can be used; throws Error with the reason when there is a toolkit but no driver, no device or a library is missing.
std::vector<CudaDevice> list_cuda_devices();
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options);

}  // namespace actmatch::cuda
