// Every status of the CUDA runtime is checked: a failure becomes an Error that names the call, the reason, the place, and a cure where
// there is one.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "engine/backend/cuda/source_place.h"
#include "engine/core/error.h"
#include "engine/core/lost_device.h"

namespace actmatch::cuda {

class CudaError : public Error {
 public:
  CudaError(cudaError_t status, const std::string& message)
      : Error(status == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kUnsupported, message), status_(status) {}
  cudaError_t status() const { return status_; }

 private:
  cudaError_t status_;
};

// For the statuses after which every call fails until the process ends: what to do then. Null for the others.
inline const char* cure_of_loss(cudaError_t status) {
  constexpr int kContained = 226;  // cudaErrorContained, which older toolkits do not name
  constexpr const char* kHardware =
      "start the program again; if it comes again, see 'nvidia-smi' and the system's log, for the GPU may have to be reset";
  if (static_cast<int>(status) == kContained) return kHardware;
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorAssert:
    case cudaErrorLaunchFailure: return "start the program again; if it comes again, report it";
    case cudaErrorLaunchTimeout: return "start the program again, with fewer pictures at once or on a GPU that drives no display";
    case cudaErrorDevicesUnavailable: return "see in 'nvidia-smi' whether another program has it for itself, or whether it is gone";
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorExternalDevice: return kHardware;
    default: return nullptr;
  }
}

inline const char* cure_of(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation: return "; a smaller batch needs less memory";
    case cudaErrorNoKernelImageForDevice: return "; build for this GPU (ACTMATCH_CUDA_ARCHITECTURES)";
    case cudaErrorInitializationError:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorUnknown: return "; see whether 'nvidia-smi' works, and restart the machine where it does not";
    default: return "";
  }
}

inline void check_cuda(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  const std::string what = std::string(call) + ": " + cudaGetErrorString(status), place = " (" + source_place(file, line) + ")";
  if (const char* cure = cure_of_loss(status)) throw LostDevice("the GPU is lost to this program: " + what + "; " + cure + place);
  throw CudaError(status, "CUDA failed: " + what + cure_of(status) + place);
}

// For what failed on a stream with a status of a library, or with an error that is about to be passed over: throws LostDevice where the
// device is the reason. Waits for the stream; a capture that goes on there is spoilt.
inline void expect_device(cudaStream_t stream, const std::string& failure) {
  const cudaError_t status = cudaStreamSynchronize(stream);
  if (status == cudaSuccess || status == cudaErrorStreamCaptureUnsupported || status == cudaErrorStreamCaptureInvalidated) return;
  const char* cure = cure_of_loss(status);
  throw LostDevice(std::string("the GPU is lost to this program: ") + cudaGetErrorString(status) + "; " +
                   (cure ? cure : "start the program again; if it comes again, report it") + "; it showed by this: " + failure);
}

}  // namespace actmatch::cuda

#define ACTMATCH_CUDA(call) ::actmatch::cuda::check_cuda((call), #call, __FILE__, __LINE__)
