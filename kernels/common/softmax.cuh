// Softmax over a row by one block: softmax(scale * z)[j] = exp(scale * (z[j] - hi)) / sum.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/common/reduce.cuh"

namespace actmatch::kernels::cuda {

struct RowSoftmax {
  const float* z;
  float scale, hi, inverse;
  double log_sum;
  __device__ __forceinline__ float operator[](int64_t j) const { return expf((z[j] - hi) * scale) * inverse; }
  __device__ __forceinline__ double log_p(int64_t j) const { return static_cast<double>((z[j] - hi) * scale) - log_sum; }
};

__device__ __forceinline__ RowSoftmax block_softmax(const float* z, int64_t K, float scale) {
  float hi = -INFINITY;
  for (int64_t j = threadIdx.x; j < K; j += blockDim.x) hi = fmaxf(hi, z[j]);
  hi = block_max(hi);
  double sum = 0;
  for (int64_t j = threadIdx.x; j < K; j += blockDim.x) sum += static_cast<double>(expf((z[j] - hi) * scale));
  sum = block_sum(sum);
  return {z, scale, hi, static_cast<float>(1 / sum), log(sum)};
}

__device__ __forceinline__ void emit(float* gradient, float v, bool accumulate) { *gradient = accumulate ? *gradient + v : v; }

}  // namespace actmatch::kernels::cuda
