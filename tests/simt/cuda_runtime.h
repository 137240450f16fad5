// Stands in for CUDA's header of that name when kernels are compiled for the emulator (simt.h). Holds what the kernels and their tests use.
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "host.h"
#include "simt.h"

#define ACTMATCH_SIMT 1

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("simt_shared")))

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments&&... arguments) {
  const dim3 g = config->gridDim, b = config->blockDim;
  const size_t threads = size_t{b.x} * b.y * b.z;
  if (threads == 0 || threads > 1024 || b.z > 64 || g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7fffffffu || g.y > 0xffffu ||
      g.z > 0xffffu || config->dynamicSmemBytes != 0) {
    return cudaErrorInvalidConfiguration;
  }
  // By value, as a launch copies its arguments.
  const std::tuple<std::decay_t<Parameters>...> copies(std::forward<Arguments>(arguments)...);
  return simt::issue(
      config->stream,
      [=] {
        simt::run_grid({g.x, g.y, g.z}, {b.x, b.y, b.z}, [&] { std::apply(kernel, copies); });
      },
      "launch");
}

// Device side.
// Variables, not macros: members of cudaLaunchConfig_t have the same names.
inline const simt::Index& threadIdx = simt::running.thread;
inline const simt::Index& blockIdx = simt::running.block;
inline const simt::Index& blockDim = simt::running.block_size;
inline const simt::Index& gridDim = simt::running.grid_size;
#define SIMT_HERE (::simt::Place{__FILE__, __LINE__})
#define __syncthreads() ::simt::barrier(SIMT_HERE)
#define __syncwarp() ((void)::simt::warp_operation(::simt::WarpOp::kSync, 0xffffffffu, 0, 0, SIMT_HERE))
#define __ballot_sync(mask, predicate) \
  (static_cast<unsigned>(::simt::warp_operation(::simt::WarpOp::kBallot, mask, (predicate) ? 1 : 0, 0, SIMT_HERE)))
#define __shfl_sync(mask, value, source) (::simt::shuffle(mask, value, (source)&31, SIMT_HERE))
#define __shfl_xor_sync(mask, value, bits) (::simt::shuffle(mask, value, ::simt::lane() ^ (bits), SIMT_HERE))
// A lane whose source would lie outside the warp keeps its own value.
#define __shfl_up_sync(mask, value, delta)                                                                                            \
  (::simt::shuffle(mask, value, ::simt::lane() < static_cast<int>(delta) ? ::simt::lane() : ::simt::lane() - static_cast<int>(delta), \
                   SIMT_HERE))
#define __shfl_down_sync(mask, value, delta)                                                                                               \
  (::simt::shuffle(mask, value, ::simt::lane() + static_cast<int>(delta) > 31 ? ::simt::lane() : ::simt::lane() + static_cast<int>(delta), \
                   SIMT_HERE))

namespace simt {
template <class T>
T shuffle(uint32_t mask, T value, int source, Place place) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_operation(WarpOp::kShuffle, mask, bits, source, place);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
}  // namespace simt

// No thread is interrupted between reading and writing. Whole numbers only: a sum of floats would depend on the order.
template <class T>
requires std::is_integral_v<T> T atomicAdd(T* p, std::type_identity_t<T> v) {
  const T before = *p;
  *p = before + v;
  return before;
}
inline int __popc(unsigned v) { return __builtin_popcount(v); }
