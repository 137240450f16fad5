// One sweep: a block takes 32 x 8 pixels and a rim of one into shared memory, writes their gradients and one triple of partial sums; a
// second launch adds the triples of an image in order.
#include "kernels/common/reduce.cuh"
#include "kernels/cuda.h"
#include "kernels/regulariser.h"

namespace actmatch::kernels::cuda {
namespace {

constexpr int kTileW = 32, kTileH = kThreads / kTileW;

struct PairScales {
  double of[4];  // weight of a direction over its number of pairs, 0 without pairs; to the right, below, below right, below left
};

__device__ __forceinline__ float sign(float d) { return static_cast<float>(d > 0.0f) - static_cast<float>(d < 0.0f); }

__global__ void __launch_bounds__(kThreads) mask_regulariser_kernel(double* partial, float* dm, const float* m, const float* weight,
                                                                    PairScales scales, int64_t H, int64_t W, bool accumulate) {
  __shared__ float tile[kTileH + 2][kTileW + 2];
  const int t = thread_index(), tx = t % kTileW, ty = t / kTileW;
  const int64_t left = static_cast<int64_t>(blockIdx.x) * kTileW, top = static_cast<int64_t>(blockIdx.y) * kTileH, b = blockIdx.z;
  const float* map = m + b * H * W;
  for (int i = t; i < (kTileH + 2) * (kTileW + 2); i += kThreads) {
    const int row = i / (kTileW + 2), column = i % (kTileW + 2);
    const int64_t y = top + row - 1, x = left + column - 1;
    tile[row][column] = y >= 0 && y < H && x >= 0 && x < W ? map[y * W + x] : 0.0f;
  }
  __syncthreads();
  const int64_t y = top + ty, x = left + tx;
  double area = 0, bin = 0, variation = 0;
  if (y < H && x < W) {
    const float* w = weight + b * kRegulariserTerms;
    const float centre = tile[ty + 1][tx + 1], pixels = static_cast<float>(H * W);
    area = static_cast<double>(centre);
    bin = static_cast<double>(centre * (1.0f - centre));
    float g = (w[0] + w[1]) / pixels - 2.0f * w[1] / pixels * centre;
    for (int d = 0; d < 4; ++d) {
      const double scale = scales.of[d];
      if (scale == 0) continue;
      const int down = d == 0 ? 0 : 1, right = d == 1 ? 0 : (d == 3 ? -1 : 1);
      const float pull = static_cast<float>(scale * static_cast<double>(w[2]));
      if (y + down < H && x + right >= 0 && x + right < W) {  // this pixel comes first in a pair
        const float difference = tile[ty + 1 + down][tx + 1 + right] - centre;
        variation += scale * static_cast<double>(fabsf(difference));
        g -= pull * sign(difference);
      }
      if (y - down >= 0 && x - right >= 0 && x - right < W) g += pull * sign(centre - tile[ty + 1 - down][tx + 1 - right]);
    }
    if (dm != nullptr) {
      float* out = dm + b * H * W + y * W + x;
      *out = accumulate ? *out + g : g;
    }
  }
  area = block_sum(area);
  bin = block_sum(bin);
  variation = block_sum(variation);
  if (t == 0) {
    double* out = partial + ((b * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * kRegulariserTerms;
    out[0] = area;
    out[1] = bin;
    out[2] = variation;
  }
}

// One block for a term of an image.
__global__ void __launch_bounds__(kThreads)
    mask_regulariser_sum_kernel(float* value, const double* partial, int64_t blocks, double pixels) {
  const int64_t b = blockIdx.y, term = blockIdx.x;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < blocks; i += kThreads) sum += partial[(b * blocks + i) * kRegulariserTerms + term];
  sum = block_sum(sum);
  if (threadIdx.x == 0) value[b * kRegulariserTerms + term] = static_cast<float>(term == 2 ? sum : sum / pixels);
}

int64_t tiles_of(int64_t H, int64_t W) { return ceil_div(W, kTileW) * ceil_div(H, kTileH); }

}  // namespace

size_t mask_regulariser_scratch_bytes(int64_t B, int64_t H, int64_t W) {
  return static_cast<size_t>(B * tiles_of(H, W) * kRegulariserTerms) * sizeof(double);
}

cudaError_t mask_regulariser(cudaStream_t stream, float* value, float* dm, const float* m, const float* weight, int neighbours, int64_t B,
                             int64_t H, int64_t W, bool accumulate, void* scratch) {
  const auto scale = [](double of_direction, int64_t rows, int64_t columns) {
    return rows > 0 && columns > 0 ? of_direction / (static_cast<double>(rows) * static_cast<double>(columns)) : 0.0;
  };
  const double diagonal = neighbours == 8 ? scale(0.70710678118654752, H - 1, W - 1) : 0.0;
  const PairScales scales{{scale(1, H, W - 1), scale(1, H - 1, W), diagonal, diagonal}};
  auto* partial = static_cast<double*>(scratch);
  const cudaError_t error = launch(stream, mask_regulariser_kernel, grid_of(ceil_div(W, kTileW), ceil_div(H, kTileH), B), kThreads, partial,
                                   dm, m, weight, scales, H, W, accumulate);
  if (error != cudaSuccess) return error;
  return launch(stream, mask_regulariser_sum_kernel, grid_of(kRegulariserTerms, B), kThreads, value, partial, tiles_of(H, W),
                static_cast<double>(H * W));
}

}  // namespace actmatch::kernels::cuda
