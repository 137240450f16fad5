// Four neighbouring numbers a thread: one Philox block where they are white noise. What a whole background shares, levels and grids, each
// block of threads makes for itself: at most one Philox block a thread.
#include "kernels/common/launch.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

enum Field : uint32_t { kColourField = 0, kGridField = 1, kWhiteField = 2 };
constexpr int kMaxGrid = 16;

struct CubicTaps {
  int cell[4];
  double weight[4];
};

__device__ __forceinline__ CubicTaps cubic_taps(int64_t i, int in, int64_t out) {
  constexpr double a = -0.75;
  const double source = (static_cast<double>(i) + 0.5) * in / static_cast<double>(out) - 0.5;
  const double base = floor(source);
  CubicTaps taps;
  for (int k = 0; k < 4; ++k) {
    const double d = fabs(source - (base + k - 1));
    const int cell = static_cast<int>(base) + k - 1;
    taps.cell[k] = cell < 0 ? 0 : (cell < in ? cell : in - 1);
    taps.weight[k] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  }
  return taps;
}

__device__ __forceinline__ double cubic_at(const double* grid, int n, int64_t y, int64_t x, int64_t H, int64_t W) {
  const CubicTaps row = cubic_taps(y, n, H), column = cubic_taps(x, n, W);
  double sum = 0;
  for (int r = 0; r < 4; ++r) {
    double wide = 0;
    for (int k = 0; k < 4; ++k) wide += column.weight[k] * grid[row.cell[r] * n + column.cell[k]];
    sum += row.weight[r] * wide;
  }
  return sum;
}

__global__ void __launch_bounds__(kThreads)
    random_background_kernel(float* out, BackgroundSpec spec, RandomStream stream, const BackgroundCursor* cursor) {
  __shared__ double level[kMaxBackgroundChannels], gain[kMaxBackgroundChannels];
  __shared__ double grid[kMaxBackgroundChannels * kMaxGrid * kMaxGrid];
  const int t = thread_index();
  const uint32_t image = cursor->image, draw = cursor->first + blockIdx.y, kind = draw % 3;
  const int n = 4 << ((draw / 3) % 3);
  if (t == 0) {
    const NormalBlock u = normal_block(random_block(spec.seed, stream, kColourField, image, draw, 0));
    for (int64_t c = 0; c < spec.channels; ++c) {
      gain[c] = spec.sigma[c] * spec.scale[c];
      level[c] = spec.mu[c] * spec.scale[c] + spec.offset[c] + (kind == 0 ? 1.0 : 0.5) * gain[c] * u.value[c];
    }
  }
  if (kind == 1) {
    for (int i = t; i < static_cast<int>(spec.channels) * n * n / 4; i += kThreads) {
      const NormalBlock s = normal_block(random_block(spec.seed, stream, kGridField, image, draw, static_cast<uint32_t>(i)));
      for (int k = 0; k < 4; ++k) grid[4 * i + k] = s.value[k];
    }
  }
  __syncthreads();
  const int64_t HW = spec.height * spec.width, size = spec.channels * HW, begin = 4 * flat_index();
  if (begin >= size) return;
  float* item = out + blockIdx.y * size;
  NormalBlock v{};
  if (kind == 2) v = normal_block(random_block(spec.seed, stream, kWhiteField, image, draw, static_cast<uint32_t>(begin / 4)));
  for (int k = 0; k < 4 && begin + k < size; ++k) {
    const int64_t at = begin + k, c = at / HW, i = at % HW;
    double noise = 0;
    if (kind == 1) noise = cubic_at(grid + c * n * n, n, i / spec.width, i % spec.width, spec.height, spec.width);
    if (kind == 2) noise = 0.5 * v.value[k];
    item[at] = static_cast<float>(level[c] + gain[c] * noise);
  }
}

}  // namespace

cudaError_t random_background(cudaStream_t stream, float* out, const BackgroundSpec& spec, RandomStream random_stream,
                              const BackgroundCursor* cursor, int64_t count) {
  const int64_t size = spec.channels * spec.height * spec.width;
  return launch(stream, random_background_kernel, grid_of(ceil_div(size, 4 * kThreads), count), kThreads, out, spec, random_stream, cursor);
}

}  // namespace actmatch::kernels::cuda
