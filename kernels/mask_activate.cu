// One thread a pixel, one row of blocks an image.
#include "kernels/common/launch.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__global__ void mask_activate_kernel(float* m, const float* s, const float* threshold, const float* inverse_temperature, int64_t HW) {
  const int64_t i = flat_index(), b = blockIdx.y;
  if (i < HW) m[b * HW + i] = 1.0f / (1.0f + expf((threshold[b] - s[b * HW + i]) * inverse_temperature[b]));
}

__global__ void mask_activate_backward_kernel(float* ds, const float* dm, const float* m, const float* inverse_temperature, int64_t HW,
                                              bool accumulate) {
  const int64_t i = flat_index(), b = blockIdx.y, at = b * HW + i;
  if (i >= HW) return;
  const float d = dm[at] * m[at] * (1.0f - m[at]) * inverse_temperature[b];
  ds[at] = accumulate ? ds[at] + d : d;
}

__global__ void hard_mask_kernel(float* h, const float* s, const float* threshold, int64_t HW) {
  const int64_t i = flat_index(), b = blockIdx.y;
  if (i < HW) h[b * HW + i] = s[b * HW + i] > threshold[b] ? 1.0f : 0.0f;
}

}  // namespace

cudaError_t mask_activate(cudaStream_t stream, float* m, const float* s, const float* threshold, const float* inverse_temperature,
                          int64_t B, int64_t HW) {
  return launch(stream, mask_activate_kernel, grid_of(ceil_div(HW, kThreads), B), kThreads, m, s, threshold, inverse_temperature, HW);
}

cudaError_t mask_activate_backward(cudaStream_t stream, float* ds, const float* dm, const float* m, const float* inverse_temperature,
                                   int64_t B, int64_t HW, bool accumulate) {
  return launch(stream, mask_activate_backward_kernel, grid_of(ceil_div(HW, kThreads), B), kThreads, ds, dm, m, inverse_temperature, HW,
                accumulate);
}

cudaError_t hard_mask(cudaStream_t stream, float* h, const float* s, const float* threshold, int64_t B, int64_t HW) {
  return launch(stream, hard_mask_kernel, grid_of(ceil_div(HW, kThreads), B), kThreads, h, s, threshold, HW);
}

}  // namespace actmatch::kernels::cuda
