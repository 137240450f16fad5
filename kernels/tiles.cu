// Sums and states: one block a tile. Removal and candidates: one block a listed tile; a tile listed twice is written twice, the same.
#include "kernels/common/passes.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

constexpr int kTileThreads = 128;

// run(offset in the map) for this thread's pixels of a tile.
template <class Run>
__device__ __forceinline__ int64_t each_pixel(const TileGrid& grid, int64_t tile, Run run) {
  const int64_t top = tile / grid.columns * grid.tile, left = tile % grid.columns * grid.tile;
  const int64_t height = grid.H - top < grid.tile ? grid.H - top : grid.tile, width = grid.W - left < grid.tile ? grid.W - left : grid.tile;
  for (int64_t k = threadIdx.x; k < height * width; k += blockDim.x) run((top + k / width) * grid.W + left + k % width);
  return height * width;
}

__global__ void tile_sum_kernel(float* sum, const float* map, TileGrid grid) {
  const int64_t tile = blockIdx.x, tiles = gridDim.x, b = blockIdx.y;
  double total = 0;
  each_pixel(grid, tile, [&](int64_t at) { total += static_cast<double>(map[b * grid.H * grid.W + at]); });
  total = block_sum(total);
  if (threadIdx.x == 0) sum[b * tiles + tile] = static_cast<float>(total);
}

__global__ void tile_state_kernel(TileState* state, const float* h, TileGrid grid) {
  const int64_t tile = blockIdx.x, tiles = gridDim.x, b = blockIdx.y;
  int inside = 0;
  const int64_t pixels = each_pixel(grid, tile, [&](int64_t at) { inside += h[b * grid.H * grid.W + at] != 0.0f ? 1 : 0; });
  inside = block_sum(inside);
  if (threadIdx.x == 0)
    state[b * tiles + tile] = inside == 0 ? TileState::kEmpty : (inside == pixels ? TileState::kFull : TileState::kPartial);
}

__global__ void remove_tiles_kernel(float* h, const int32_t* tiles, TileGrid grid) {
  each_pixel(grid, tiles[blockIdx.x], [&](int64_t at) { h[at] = 0.0f; });
}

__global__ void copy_bases_kernel(float* out, const float* base, int64_t first, int64_t size, int64_t n) {
  const int64_t i = flat_index(), j = blockIdx.y, p = first + blockIdx.z;
  if (i < size) out[(p * n + j) * size + i] = base[p * size + i];
}

__global__ void rewrite_tiles_kernel(float* out, const float* x, Passes passes, const int32_t* tiles, const int32_t* offsets, TileGrid grid,
                                     int64_t n, int64_t C) {
  const int64_t j = blockIdx.y, HW = grid.H * grid.W;
  const ComposePass<float>& pass = passes.pass[blockIdx.z];
  float* candidate = out + ((passes.first + blockIdx.z) * n + j) * C * HW;
  for (int64_t k = offsets[j] + static_cast<int64_t>(blockIdx.x); k < offsets[j + 1]; k += gridDim.x) {
    each_pixel(grid, tiles[k], [&](int64_t at) {
      for (int64_t c = 0; c < C; ++c) candidate[c * HW + at] = pass.complement ? x[c * HW + at] : background_at(pass, 0, c, at, C, HW);
    });
  }
}

}  // namespace

cudaError_t tile_sum(cudaStream_t stream, float* sum, const float* map, const TileGrid& grid, int64_t B) {
  return launch(stream, tile_sum_kernel, grid_of(grid.count(), B), kTileThreads, sum, map, grid);
}

cudaError_t tile_state(cudaStream_t stream, TileState* state, const float* h, const TileGrid& grid, int64_t B) {
  return launch(stream, tile_state_kernel, grid_of(grid.count(), B), kTileThreads, state, h, grid);
}

cudaError_t remove_tiles(cudaStream_t stream, float* h, const int32_t* tiles, int64_t count, const TileGrid& grid) {
  return launch(stream, remove_tiles_kernel, grid_of(count), kTileThreads, h, tiles, grid);
}

cudaError_t compose_candidates(cudaStream_t stream, float* out, const float* base, const float* x, const ComposePass<float>* passes,
                               const int32_t* tiles, const int32_t* offsets, const TileGrid& grid, int64_t n, int64_t P, int64_t C) {
  // How many tiles a candidate loses stands in device memory: so many blocks share them, whatever the number.
  constexpr int64_t kShares = 16;
  const int64_t size = C * grid.H * grid.W;
  return in_chunks(passes, P, [&](const Passes& chunk) {
    const cudaError_t error =
        launch(stream, copy_bases_kernel, grid_of(ceil_div(size, kThreads), n, chunk.count), kThreads, out, base, chunk.first, size, n);
    if (error != cudaSuccess) return error;
    return launch(stream, rewrite_tiles_kernel, grid_of(kShares, n, chunk.count), kTileThreads, out, x, chunk, tiles, offsets, grid, n, C);
  });
}

}  // namespace actmatch::kernels::cuda
