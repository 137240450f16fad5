// Launching, and the flat index of a thread.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// nvcc's pragma, which the compiler of the emulator does not know.
#if defined(__CUDACC__)
#define ACTMATCH_UNROLL _Pragma("unroll")
#else
#define ACTMATCH_UNROLL
#endif

namespace actmatch::kernels::cuda {

inline constexpr int kThreads = 256;
inline constexpr uint32_t kAllLanes = 0xffffffffu;

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Grids of more blocks than the hardware takes are refused by the launch itself, once the numbers fit their type.
inline dim3 grid_of(int64_t x, int64_t y = 1, int64_t z = 1) {
  const auto limited = [](int64_t v) { return static_cast<unsigned>(v < 0xffffffffLL ? v : 0xffffffffLL); };
  return {limited(x), limited(y), limited(z)};
}

// Not <<<>>>: this is plain C++, which the emulator of the tests compiles too.
template <class... Parameters, class... Arguments>
cudaError_t launch(cudaStream_t stream, void (*kernel)(Parameters...), dim3 grid, int threads, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaSuccess;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

__device__ __forceinline__ int64_t flat_index() {
  return static_cast<int64_t>(blockIdx.x) * static_cast<int64_t>(blockDim.x) + static_cast<int64_t>(threadIdx.x);
}
__device__ __forceinline__ int thread_index() { return static_cast<int>(threadIdx.x); }

}  // namespace actmatch::kernels::cuda
