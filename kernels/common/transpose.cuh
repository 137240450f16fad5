// Copies where one axis is contiguous in the result and another one in the source: 32 x 32 elements at a time through shared memory, so
// that both sides are read and written along their contiguous axis.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/common/walk.cuh"

namespace actmatch::kernels::cuda {

inline constexpr int kTile = 32;
inline constexpr int64_t kTileWorth = 16;  // shorter axes would leave most of a tile empty

// The axis that is contiguous in the source when that is another one than in the result and both are long; -1 otherwise.
inline int transposed_axis(const Axes<2>& axes) {
  const int last = axes.rank - 1;
  if (last < 1 || axes.stride[0][last] != 1 || axes.stride[1][last] == 1 || axes.extent[last] < kTileWorth) return -1;
  for (int a = 0; a < last; ++a)
    if (axes.stride[1][a] == 1 && axes.extent[a] >= kTileWorth) return a;
  return -1;
}

struct Tiling {
  int32_t a, b;                // extents of the axis contiguous in y, and of the one contiguous in x
  int32_t y_stride, x_stride;  // of y along b, of x along a
  FastDivisor tiles_a, tiles_b;
};

// A column more than a tile has: the lanes of a warp that read a column fall on different banks.
static __device__ __forceinline__ float* tile_words() {
  __shared__ float words[kTile * (kTile + 1)];
  return words;
}

template <class To, class From>
__global__ void __launch_bounds__(kThreads) transpose_kernel(To* y, const From* x, Tiling t, Walk<2> outer, bool accumulate) {
  float* tile = tile_words();
  const uint32_t above = t.tiles_a.quotient(blockIdx.x), rest = t.tiles_b.quotient(above);
  const auto a0 = static_cast<int32_t>(blockIdx.x - above * t.tiles_a.divisor) * kTile;
  const auto b0 = static_cast<int32_t>(above - rest * t.tiles_b.divisor) * kTile;
  const Spot<1, 2> spot(outer, rest);
  const int lane = thread_index() % 32, warp = thread_index() / 32;
  for (int row = warp; row < kTile; row += kThreads / 32) {
    if (a0 + row < t.a && b0 + lane < t.b) {
      const From v = x[spot.at[1] + (a0 + row) * t.x_stride + b0 + lane];
      tile[row * (kTile + 1) + lane] = convert<float>(v);
    }
  }
  __syncthreads();
  for (int row = warp; row < kTile; row += kThreads / 32) {
    if (b0 + row < t.b && a0 + lane < t.a) {
      To* to = y + spot.at[0] + (b0 + row) * t.y_stride + a0 + lane;
      const float v = tile[lane * (kTile + 1) + row];
      if constexpr (kIsReal<To>) {
        *to = from_float<To>(accumulate ? to_float(*to) + v : v);
      } else {
        *to = convert<To>(v);
      }
    }
  }
}

template <class To, class From>
cudaError_t transpose_tiles(cudaStream_t stream, To* y, const From* x, const Axes<2>& axes, int across, bool accumulate) {
  return split_axes(axes, axes.rank, [&](const Axes<2>& part, const int64_t(&offset)[2]) {
    const int last = part.rank - 1;
    Axes<2> rest;
    for (int a = 0; a < last; ++a)
      if (a != across) rest.push(part.extent[a], {part.stride[0][a], part.stride[1][a]});
    const int64_t tiles_a = ceil_div(part.extent[last], kTile), tiles_b = ceil_div(part.extent[across], kTile);
    const Tiling tiling{static_cast<int32_t>(part.extent[last]),
                        static_cast<int32_t>(part.extent[across]),
                        static_cast<int32_t>(part.stride[0][across]),
                        static_cast<int32_t>(part.stride[1][last]),
                        FastDivisor(tiles_a),
                        FastDivisor(tiles_b)};
    return launch(stream, transpose_kernel<To, From>, grid_of(tiles_a * tiles_b * rest.count()), kThreads, y + offset[0], x + offset[1],
                  tiling, make_walk<1>(rest), accumulate);
  });
}

}  // namespace actmatch::kernels::cuda
