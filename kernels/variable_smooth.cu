// Forward: one thread a pixel, over its window. Backward: one thread a source, the copies beyond the border among them, over the pixels it
// reaches, into scratch; then one thread a pixel adds up its copies, row by row. Neighbouring threads read neighbouring numbers; the
// windows overlap, so nearly all reads are served by the cache.
#include "kernels/common/launch.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__device__ __forceinline__ int64_t inside(int64_t i, int64_t extent) { return i < 0 ? 0 : i < extent ? i : extent - 1; }

__global__ void variable_smooth_kernel(float* s, const float* w, const float* q, int64_t radius, int64_t H, int64_t W) {
  const int64_t i = flat_index(), plane = static_cast<int64_t>(blockIdx.y) * H * W;
  if (i >= H * W) return;
  const int64_t y = i / W, x = i % W;
  float sum = 0;
  for (int64_t v = -radius; v <= radius; ++v) {
    const int64_t row = plane + inside(y + v, H) * W;
    float part = 0;
    for (int64_t u = -radius; u <= radius; ++u) {
      const int64_t j = row + inside(x + u, W);
      part += w[j] * expf(-static_cast<float>(u * u + v * v) / q[j]);
    }
    sum += part;
  }
  s[plane + i] = sum;
}

__global__ void variable_smooth_sources_kernel(float* by_weight, float* by_width, const float* ds, const float* q, int64_t radius,
                                               int64_t H, int64_t W) {
  const int64_t width = W + 2 * radius, size = (H + 2 * radius) * width;
  const int64_t i = flat_index(), plane = static_cast<int64_t>(blockIdx.y) * H * W;
  if (i >= size) return;
  const int64_t y = i / width - radius, x = i % width - radius;
  const float rate = -1.0f / q[plane + inside(y, H) * W + inside(x, W)];
  float weight_sum = 0, width_sum = 0;
  const int64_t top = y - radius < 0 ? 0 : y - radius, bottom = y + radius < H - 1 ? y + radius : H - 1;
  const int64_t left = x - radius < 0 ? 0 : x - radius, right = x + radius < W - 1 ? x + radius : W - 1;
  for (int64_t v = top; v <= bottom; ++v) {
    float weight_part = 0, width_part = 0;
    for (int64_t u = left; u <= right; ++u) {
      const auto square = static_cast<float>((v - y) * (v - y) + (u - x) * (u - x));
      const float term = ds[plane + v * W + u] * expf(square * rate);
      weight_part += term;
      width_part += square * term;
    }
    weight_sum += weight_part;
    width_sum += width_part;
  }
  const int64_t at = static_cast<int64_t>(blockIdx.y) * size + i;
  by_weight[at] = weight_sum;
  by_width[at] = width_sum;
}

__global__ void variable_smooth_fold_kernel(float* dw, float* dq, const float* by_weight, const float* by_width, const float* w,
                                            const float* q, float log_weight, int64_t radius, int64_t H, int64_t W) {
  const int64_t i = flat_index(), plane = static_cast<int64_t>(blockIdx.y) * H * W;
  if (i >= H * W) return;
  const int64_t y = i / W, x = i % W, width = W + 2 * radius;
  const int64_t sources = static_cast<int64_t>(blockIdx.y) * (H + 2 * radius) * width;
  const int64_t top = y == 0 ? 0 : y + radius, bottom = y == H - 1 ? H - 1 + 2 * radius : y + radius;
  const int64_t left = x == 0 ? 0 : x + radius, right = x == W - 1 ? W - 1 + 2 * radius : x + radius;
  float weight_sum = 0, width_sum = 0;
  for (int64_t v = top; v <= bottom; ++v)
    for (int64_t u = left; u <= right; ++u) {
      weight_sum += by_weight[sources + v * width + u];
      width_sum += by_width[sources + v * width + u];
    }
  const float width_here = q[plane + i];
  dw[plane + i] = weight_sum;
  dq[plane + i] = width_sum * w[plane + i] / (width_here * width_here) + log_weight / width_here;
}

}  // namespace

cudaError_t variable_smooth(cudaStream_t stream, float* s, float*, const float* w, const float* q, int64_t radius, int64_t B, int64_t H,
                            int64_t W) {
  return launch(stream, variable_smooth_kernel, grid_of(ceil_div(H * W, kThreads), B), kThreads, s, w, q, radius, H, W);
}

cudaError_t variable_smooth_backward(cudaStream_t stream, float* dw, float* dq, float* scratch, const float* ds, const float* w,
                                     const float* q, float log_weight, int64_t radius, int64_t B, int64_t H, int64_t W) {
  const int64_t sources = (H + 2 * radius) * (W + 2 * radius);
  float *by_weight = scratch, *by_width = scratch + B * sources;
  const cudaError_t error = launch(stream, variable_smooth_sources_kernel, grid_of(H * W > 0 ? ceil_div(sources, kThreads) : 0, B),
                                   kThreads, by_weight, by_width, ds, q, radius, H, W);
  if (error != cudaSuccess) return error;
  return launch(stream, variable_smooth_fold_kernel, grid_of(ceil_div(H * W, kThreads), B), kThreads, dw, dq, by_weight, by_width, w, q,
                log_weight, radius, H, W);
}

}  // namespace actmatch::kernels::cuda
