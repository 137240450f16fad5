// Every status of the CUDA runtime is checked: a failure becomes an Error that names the call, the reason and the place.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "engine/core/error.h"

namespace actmatch::cuda {

class CudaError : public Error {
 public:
  CudaError(cudaError_t status, const std::string& message)
      : Error(status == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kUnsupported, message), status_(status) {}
  cudaError_t status() const { return status_; }

 private:
  cudaError_t status_;
};

inline void check_cuda(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  std::string message = std::string("CUDA failed: ") + call + ": " + cudaGetErrorString(status);
  if (status == cudaErrorMemoryAllocation) message += "; a smaller batch needs less memory";
  throw CudaError(status, message + " (" + file + ":" + std::to_string(line) + ")");
}

}  // namespace actmatch::cuda

#define ACTMATCH_CUDA(call) ::actmatch::cuda::check_cuda((call), #call, __FILE__, __LINE__)
