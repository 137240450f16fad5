// One thread a pixel, twice: down the columns from the map to scratch, along the rows back. Neighbouring threads read neighbouring numbers
// in both; the taps are the same for all of them. A map that stays as it is costs two empty launches.
#include "kernels/common/launch.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__device__ __forceinline__ int64_t row_of(const SmoothTable<float>& table, const uint32_t* step) {
  const int64_t t = *step;
  return (t < table.rows ? t : table.rows) - 1;
}

// to[i] = sum over d of tap[|d|] * from[i + d * stride], where i is `position` of `extent` along the direction of the sum.
__device__ __forceinline__ float smoothed(const float* from, int64_t i, int64_t stride, int64_t position, int64_t extent, const float* taps,
                                          int64_t radius) {
  const int64_t first = position < radius ? -position : -radius;
  const int64_t last = extent - 1 - position < radius ? extent - 1 - position : radius;
  float sum = 0;
  for (int64_t d = first; d <= last; ++d) sum += taps[d < 0 ? -d : d] * from[i + d * stride];
  return sum;
}

__global__ void smooth_columns_kernel(float* scratch, const float* map, SmoothTable<float> table, const uint32_t* step, int64_t H,
                                      int64_t W) {
  const int64_t i = flat_index(), plane = static_cast<int64_t>(blockIdx.y) * H * W, row = row_of(table, step);
  const int64_t radius = table.radius[row];
  if (i >= H * W || radius < 0) return;
  scratch[plane + i] = smoothed(map + plane, i, W, i / W, H, table.taps + row * table.stride, radius);
}

__global__ void smooth_rows_kernel(float* map, const float* scratch, SmoothTable<float> table, const uint32_t* step, int64_t H, int64_t W) {
  const int64_t i = flat_index(), plane = static_cast<int64_t>(blockIdx.y) * H * W, row = row_of(table, step);
  const int64_t radius = table.radius[row];
  if (i >= H * W || radius < 0) return;
  map[plane + i] = smoothed(scratch + plane, i, 1, i % W, W, table.taps + row * table.stride, radius);
}

}  // namespace

cudaError_t gaussian_smooth(cudaStream_t stream, float* map, float* scratch, const SmoothTable<float>& table, const uint32_t* step,
                            int64_t B, int64_t H, int64_t W) {
  const dim3 grid = grid_of(ceil_div(H * W, kThreads), B);
  const cudaError_t error = launch(stream, smooth_columns_kernel, grid, kThreads, scratch, map, table, step, H, W);
  if (error != cudaSuccess) return error;
  return launch(stream, smooth_rows_kernel, grid, kThreads, map, scratch, table, step, H, W);
}

}  // namespace actmatch::kernels::cuda
