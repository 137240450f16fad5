// Every status of cuBLAS is checked: a failure becomes an Error that names the call, the reason and the place.
#pragma once

#include <cublasLt.h>

#include <string>

#include "engine/backend/cuda/source_place.h"
#include "engine/core/error.h"

namespace actmatch::cuda {

class CublasError : public Error {
 public:
  CublasError(cublasStatus_t status, const std::string& message)
      : Error(status == CUBLAS_STATUS_ALLOC_FAILED ? ErrorCode::kOutOfMemory : ErrorCode::kUnsupported, message), status_(status) {}
  cublasStatus_t status() const { return status_; }

 private:
  cublasStatus_t status_;
};

inline void check_cublas(cublasStatus_t status, const char* call, const char* file, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw CublasError(status, std::string("cuBLAS failed: ") + call + ": " + cublasLtGetStatusName(status) + ", " +
                                cublasLtGetStatusString(status) +
                                (status == CUBLAS_STATUS_ALLOC_FAILED ? "; a smaller batch needs less memory" : "") + " (" +
                                source_place(file, line) + ")");
}

}  // namespace actmatch::cuda

#define ACTMATCH_CUBLAS(call) ::actmatch::cuda::check_cublas((call), #call, __FILE__, __LINE__)
