// The CUDA backend with NVIDIA's libraries behind it.
#include "engine/backend/cuda/cuda_backend.h"

#include <cublasLt.h>
#include <cublas_api.h>
#include <cuda_runtime.h>

#include <cstdio>

#include "engine/backend/cuda/check.h"
#include "engine/backend/cuda/cublas/cublas_library.h"
#include "engine/backend/cuda/cuda_device_backend.h"
#include "engine/backend/cuda/cudnn/cudnn_library.h"
#include "engine/backend/cuda/cudnn/device.h"
#include "engine/backend/cuda/ops/conv_rest.h"

#if __has_include(<nvtx3/nvToolsExtCudaRt.h>)
#include <nvtx3/nvToolsExtCudaRt.h>
#define ACTMATCH_HAVE_NVTX_STREAMS 1
#endif

namespace actmatch::cuda {

namespace {

std::string version_text(int version, int scale) { return std::to_string(version / scale) + "." + std::to_string(version % scale / 10); }

constexpr int64_t kOldestCudnn = 90800;  // the first that takes a device's description, which plans are asked with

std::string cudnn_text(int64_t v) {  // 92100: 9.21.0
  return std::to_string(v / 10000) + "." + std::to_string(v % 10000 / 100) + "." + std::to_string(v % 100);
}

// Our kernels are built for this compute capability (ten times: 80) and newer ones.
constexpr int kOldest = ACTMATCH_OLDEST_ARCHITECTURE;
bool runs_kernels(const cudaDeviceProp& properties) { return 10 * properties.major + properties.minor >= kOldest; }
std::string oldest_text() { return std::to_string(kOldest / 10) + "." + std::to_string(kOldest % 10); }

int count_devices() {
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    throw Error(ErrorCode::kUnsupported,
                "there is no NVIDIA driver on this machine (libcuda.so.1 was not found); install one for CUDA 12 or newer");
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver)
    throw Error(ErrorCode::kUnsupported, "the NVIDIA driver is for CUDA " + version_text(driver, 1000) +
                                             " and too old for this build (CUDA " + version_text(CUDART_VERSION, 1000) +
                                             "); install a newer driver");
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
    throw Error(ErrorCode::kUnsupported,
                "there is an NVIDIA driver but no GPU that it may use; look at nvidia-smi and at CUDA_VISIBLE_DEVICES");
  check_cuda(status, "cudaGetDeviceCount", __FILE__, __LINE__);
  return count;
}

// The files' names tell the libraries' major versions only, and what is found first is taken.
void check_libraries() {
  if (cudnn_version() < kOldestCudnn)
    throw Error(ErrorCode::kUnsupported, "the cuDNN that was found is " + cudnn_text(cudnn_version()) + ", and " +
                                             cudnn_text(kOldestCudnn) +
                                             " or newer is needed; install one, or put its folder first in LD_LIBRARY_PATH");
  if (const size_t version = cublasLtGetVersion(); version / 10000 != CUBLAS_VER_MAJOR)
    throw Error(ErrorCode::kUnsupported, "the cuBLASLt that was found is " + std::to_string(version / 10000) + ", and this build is for " +
                                             std::to_string(CUBLAS_VER_MAJOR) + "; install the one of CUDA " +
                                             version_text(CUDART_VERSION, 1000) + ", or put its folder first in LD_LIBRARY_PATH");
}

std::string description_of(const cudaDeviceProp& properties) {
  int driver = 0;
  ACTMATCH_CUDA(cudaDriverGetVersion(&driver));
  char memory[32];
  std::snprintf(memory, sizeof memory, "%.1f GiB", static_cast<double>(properties.totalGlobalMem) / static_cast<double>(size_t{1} << 30));
  return std::string(properties.name) + ", compute capability " + std::to_string(properties.major) + "." +
         std::to_string(properties.minor) + ", " + std::to_string(properties.multiProcessorCount) + " SMs, " + memory +
         "; driver for CUDA " + version_text(driver, 1000) + ", runtime " + version_text(CUDART_VERSION, 1000) + ", cuDNN " +
         cudnn_text(cudnn_version()) + ", cuBLASLt " + std::to_string(cublasLtGetVersion());
}

cudaDeviceProp properties_of(int device) {
  cudaDeviceProp properties{};
  ACTMATCH_CUDA(cudaGetDeviceProperties(&properties, device));
  return properties;
}

}  // namespace

std::vector<CudaDevice> list_cuda_devices() {
  std::vector<CudaDevice> devices;
  const int count = count_devices();
  check_libraries();
  for (int i = 0; i < count; ++i) {
    const cudaDeviceProp properties = properties_of(i);
    if (runs_kernels(properties)) devices.push_back({i, properties.name, description_of(properties)});
  }
  if (devices.empty())
    throw Error(ErrorCode::kUnsupported,
                "no GPU of this machine has compute capability " + oldest_text() + " or newer, which this build has kernels for");
  return devices;
}

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  const int count = count_devices();
  check_libraries();
  if (options.device < 0 || options.device >= count)
    throw Error(ErrorCode::kInvalidArgument,
                "there is no GPU " + std::to_string(options.device) + "; this machine has " + std::to_string(count) + ", counted from 0");
  const cudaDeviceProp properties = properties_of(options.device);
  if (!runs_kernels(properties))
    throw Error(ErrorCode::kUnsupported, std::string(properties.name) + " has compute capability " + std::to_string(properties.major) +
                                             "." + std::to_string(properties.minor) + ", and this build has kernels for " + oldest_text() +
                                             " and newer: build for it (ACTMATCH_CUDA_ARCHITECTURES)");
  ACTMATCH_CUDA(cudaSetDevice(options.device));
  DeviceBackendParts parts;
  parts.device = options.device;
  parts.precision = options.precision;
  parts.notice = options.notice;
  parts.name = "cuda:" + std::to_string(options.device) + " (" + properties.name + ")";
  parts.description = description_of(properties) + ", " + name_of(options.precision);
  parts.stream = std::make_unique<Stream>();
#if defined(ACTMATCH_HAVE_NVTX_STREAMS)
  nvtxNameCudaStreamA(parts.stream->get(), "actmatch");  // in Nsight's timeline
#endif
  CudnnOptions cudnn;
  cudnn.device = options.device;
  cudnn.stream = parts.stream->get();
  cudnn.rest = [stream = cudnn.stream](const PlanKey& key, const ConvTensors& tensors) { run_rest(stream, key, tensors); };
  cudnn.notice = options.notice;
  parts.convolutions = make_cudnn_library(cudnn);
  CublasOptions cublas;
  cublas.stream = parts.stream->get();
  cublas.notice = options.notice;
  parts.products = make_cublas_library(cublas);
  return std::make_unique<DeviceBackend>(std::move(parts));
}

}  // namespace actmatch::cuda
