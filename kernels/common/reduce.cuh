// Reductions over a warp and over a block of whole warps. Every thread of the block must come, and every thread gets the result. The order
// of sums is fixed. Wide sums are in double, as in the references.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/common/launch.cuh"

namespace actmatch::kernels::cuda {

template <class T>
__device__ __forceinline__ T warp_sum(T v) {
  for (int lane = 16; lane > 0; lane /= 2) v += __shfl_xor_sync(kAllLanes, v, lane);
  return v;
}
template <class T>
__device__ __forceinline__ T larger(T a, T b) {
  return a < b ? b : a;
}
// A NaN loses against everything, as in max_of of the references.
template <>
__device__ __forceinline__ float larger<float>(float a, float b) {
  return fmaxf(a, b);
}
template <class T>
__device__ __forceinline__ T warp_max(T v) {
  for (int lane = 16; lane > 0; lane /= 2) v = larger(v, __shfl_xor_sync(kAllLanes, v, lane));
  return v;
}

// 32 words of 8 bytes, one for each warp. Static, not a template's own: the emulator asks for that.
static __device__ __forceinline__ uint64_t* reduce_words() {
  __shared__ uint64_t words[32];
  return words;
}

// The second stage is done by every warp for itself, which saves a barrier; the last barrier is for the next call's first write.
template <class T, class Combine>
__device__ __forceinline__ T block_combine(T v, T neutral, Combine combine) {
  T* words = reinterpret_cast<T*>(reduce_words());
  const int lane = thread_index() % 32, warp = thread_index() / 32, warps = static_cast<int>(blockDim.x) / 32;
  v = combine(v);
  if (lane == 0) words[warp] = v;
  __syncthreads();
  v = combine(lane < warps ? words[lane] : neutral);
  __syncthreads();
  return v;
}
template <class T>
__device__ __forceinline__ T block_sum(T v) {
  return block_combine(v, T(0), [](T u) { return warp_sum(u); });
}
__device__ __forceinline__ float block_max(float v) {
  return block_combine(v, -INFINITY, [](float u) { return warp_max(u); });
}
__device__ __forceinline__ uint64_t block_max(uint64_t v) {
  return block_combine(v, uint64_t{0}, [](uint64_t u) { return warp_max(u); });
}

// Sum of v over the threads before this one; *total gets the sum over all.
__device__ __forceinline__ int block_scan(int v, int* total) {
  int* words = reinterpret_cast<int*>(reduce_words());
  const int lane = thread_index() % 32, warp = thread_index() / 32, warps = static_cast<int>(blockDim.x) / 32;
  int upto = v;
  for (int delta = 1; delta < 32; delta *= 2) {
    const int other = __shfl_up_sync(kAllLanes, upto, delta);
    if (lane >= delta) upto += other;
  }
  if (lane == 31) words[warp] = upto;
  __syncthreads();
  const int of_warp = lane < warps ? words[lane] : 0;
  __syncthreads();
  *total = warp_sum(of_warp);
  return warp_sum(lane < warp ? of_warp : 0) + upto - v;
}

}  // namespace actmatch::kernels::cuda
