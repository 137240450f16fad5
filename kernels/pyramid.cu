// One thread a pixel of an image, over the channels.
#include "kernels/common/launch.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

struct Level {
  int64_t low;
  float share;
};

__device__ __forceinline__ Level level_of(float m, int64_t L) {
  const float clipped = m < 0.0f ? 0.0f : m < 1.0f ? m : 1.0f;
  const float v = clipped * static_cast<float>(L - 1);
  const auto whole = static_cast<int64_t>(v);
  const int64_t low = whole < L - 2 ? whole : L - 2;
  return {low, v - static_cast<float>(low)};
}

__global__ void pyramid_compose_kernel(float* out, const float* m, const float* levels, int64_t L, int64_t C, int64_t HW) {
  const int64_t i = flat_index(), b = blockIdx.y;
  if (i >= HW) return;
  const Level at = level_of(m[b * HW + i], L);
  for (int64_t c = 0; c < C; ++c) {
    const float low = levels[(at.low * C + c) * HW + i], high = levels[((at.low + 1) * C + c) * HW + i];
    out[(b * C + c) * HW + i] = low + at.share * (high - low);
  }
}

__global__ void pyramid_compose_backward_kernel(float* dm, const float* dout, const float* m, const float* levels, int64_t L, int64_t C,
                                                int64_t HW, bool accumulate) {
  const int64_t i = flat_index(), b = blockIdx.y;
  if (i >= HW) return;
  const Level at = level_of(m[b * HW + i], L);
  float sum = 0;
  for (int64_t c = 0; c < C; ++c)
    sum += dout[(b * C + c) * HW + i] * (levels[((at.low + 1) * C + c) * HW + i] - levels[(at.low * C + c) * HW + i]);
  const float g = static_cast<float>(L - 1) * sum;
  dm[b * HW + i] = accumulate ? dm[b * HW + i] + g : g;
}

}  // namespace

cudaError_t pyramid_compose(cudaStream_t stream, float* out, const float* m, const float* levels, int64_t L, int64_t B, int64_t C,
                            int64_t HW) {
  return launch(stream, pyramid_compose_kernel, grid_of(ceil_div(HW, kThreads), B), kThreads, out, m, levels, L, C, HW);
}

cudaError_t pyramid_compose_backward(cudaStream_t stream, float* dm, const float* dout, const float* m, const float* levels, int64_t L,
                                     int64_t B, int64_t C, int64_t HW, bool accumulate) {
  return launch(stream, pyramid_compose_backward_kernel, grid_of(ceil_div(HW, kThreads), B), kThreads, dm, dout, m, levels, L, C, HW,
                accumulate);
}

}  // namespace actmatch::kernels::cuda
