// Forward: one thread a pixel. Backward: one block a cell, its threads over the pixels of the cell's support.
#include "kernels/common/launch.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__global__ void smooth_max_kernel(float* M, float* Z, const float* a, const float* table, SmoothMaxShape shape) {
  const int64_t H = shape.height, W = shape.width, i = flat_index(), plane = static_cast<int64_t>(blockIdx.y);
  if (i >= H * W) return;
  const int64_t step = shape.step, R = shape.radius, n = (2 * R + 1) * step;
  const int64_t h = (H + step - 1) / step, w = (W + step - 1) / step;
  const int64_t y = i / W, x = i % W;
  const auto c = static_cast<float>(shape.coldness);
  float z = 0, sum = 0;
  for (int64_t v = -R; v <= R; ++v)
    for (int64_t u = -R; u <= R; ++u) {
      const int64_t gy = y / step + v, gx = x / step + u;
      float t = 0;
      if (gy >= 0 && gy < h && gx >= 0 && gx < w)
        t = table[((R - v) * step + y % step) * n + (R - u) * step + x % step] * a[(plane * h + gy) * w + gx];
      const float e = expf(c * (t - 1.0f));
      z += e;
      sum += t * e;
    }
  Z[plane * H * W + i] = z;
  M[plane * H * W + i] = sum / z;
}

__global__ void __launch_bounds__(kThreads) smooth_max_backward_kernel(float* da, const float* dM, const float* M, const float* Z,
                                                                       const float* a, const float* table, SmoothMaxShape shape) {
  const int64_t H = shape.height, W = shape.width, step = shape.step, R = shape.radius, n = (2 * R + 1) * step;
  const int64_t h = (H + step - 1) / step, w = (W + step - 1) / step;
  const int64_t plane = static_cast<int64_t>(blockIdx.y), cell = static_cast<int64_t>(blockIdx.x);
  const int64_t top = (cell / w - R) * step, left = (cell % w - R) * step;
  const float value = a[plane * h * w + cell];
  const auto c = static_cast<float>(shape.coldness);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n * n; i += kThreads) {
    const int64_t y = top + i / n, x = left + i % n;
    if (y < 0 || y >= H || x < 0 || x >= W) continue;
    const int64_t at = (plane * H + y) * W + x;
    const float k = table[i], t = k * value;
    sum += static_cast<double>(dM[at] * k * expf(c * (t - 1.0f)) / Z[at] * (1.0f + c * (t - M[at])));
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) da[plane * h * w + cell] = static_cast<float>(sum);
}

}  // namespace

cudaError_t smooth_max(cudaStream_t stream, float* M, float* Z, const float* a, const float* table, const SmoothMaxShape& shape,
                       int64_t B) {
  return launch(stream, smooth_max_kernel, grid_of(ceil_div(shape.height * shape.width, kThreads), B), kThreads, M, Z, a, table, shape);
}

cudaError_t smooth_max_backward(cudaStream_t stream, float* da, const float* dM, const float* M, const float* Z, const float* a,
                                const float* table, const SmoothMaxShape& shape, int64_t B) {
  return launch(stream, smooth_max_backward_kernel, grid_of(shape.cells_high() * shape.cells_wide(), B), kThreads, da, dM, M, Z, a, table,
                shape);
}

}  // namespace actmatch::kernels::cuda
