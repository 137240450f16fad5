// A plain matrix product: what runs where a library's product is not to be had, and the second opinion on it. A block has 64 x 64 results,
// a thread 4 x 4 of them; 16 columns of a and rows of b at a time lie in shared memory, as fp32 and with the results' axes innermost, so
// that a thread reads its operands as two float4. Bound by fp32 arithmetic.
#include "kernels/common/axes.h"
#include "kernels/common/launch.cuh"
#include "kernels/common/value.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

constexpr int kBlock = 64, kDepth = 16, kEach = 4;
constexpr int kPitch = kBlock + 4;  // writes of a transposed operand fall on different banks; still aligned to 16 bytes
static_assert(kBlock / kEach * (kBlock / kEach) == kThreads && kBlock * kDepth == 4 * kThreads);

struct alignas(16) Tiles {
  float a[kDepth * kPitch], b[kDepth * kPitch];
};
__device__ __forceinline__ Tiles* gemm_tiles() {
  __shared__ Tiles tiles;
  return &tiles;
}

// tile[k][r] = operand(row + r, k0 + k) for 64 rows of an operand whose element (r, k) lies at r * row_stride + k * k_stride. Threads run
// along whichever of the two is contiguous.
template <class T>
__device__ __forceinline__ void load_tile(float* tile, const T* x, int64_t row, int64_t rows, int64_t k0, int64_t K, int64_t row_stride,
                                          int64_t k_stride) {
  const bool along_k = k_stride == 1;
  for (int e = 0; e < 4; ++e) {
    const int i = e * kThreads + thread_index();
    const int r = along_k ? i / kDepth : i % kBlock, k = along_k ? i % kDepth : i / kBlock;
    const bool inside = row + r < rows && k0 + k < K;
    tile[k * kPitch + r] = inside ? to_float(x[(row + r) * row_stride + (k0 + k) * k_stride]) : 0.0f;
  }
}

template <class To, class From>
__global__ void __launch_bounds__(kThreads, 2) gemm_kernel(To* c, const From* a, const From* b, const To* bias, GemmShape s,
                                                           int64_t tiles_n, int64_t first, bool accumulate, Clip clip) {
  Tiles* tiles = gemm_tiles();
  const int64_t item = first + blockIdx.y, m0 = blockIdx.x / tiles_n * kBlock, n0 = blockIdx.x % tiles_n * kBlock;
  a += item * s.a_stride;
  b += item * s.b_stride;
  c += item * s.c_stride;
  const int mine_m = thread_index() / (kBlock / kEach) * kEach, mine_n = thread_index() % (kBlock / kEach) * kEach;
  float sum[kEach][kEach] = {};
  for (int64_t k0 = 0; k0 < s.K; k0 += kDepth) {
    load_tile(tiles->a, a, m0, s.M, k0, s.K, s.transpose_a ? 1 : s.K, s.transpose_a ? s.M : 1);
    load_tile(tiles->b, b, n0, s.N, k0, s.K, s.transpose_b ? s.K : 1, s.transpose_b ? 1 : s.N);
    __syncthreads();
    for (int k = 0; k < kDepth; ++k) {
      const float4 u = *reinterpret_cast<const float4*>(tiles->a + k * kPitch + mine_m);
      const float4 v = *reinterpret_cast<const float4*>(tiles->b + k * kPitch + mine_n);
      const float left[kEach] = {u.x, u.y, u.z, u.w}, right[kEach] = {v.x, v.y, v.z, v.w};
      for (int i = 0; i < kEach; ++i)
        for (int j = 0; j < kEach; ++j) sum[i][j] += left[i] * right[j];
    }
    __syncthreads();
  }
  for (int i = 0; i < kEach; ++i) {
    for (int j = 0; j < kEach; ++j) {
      const int64_t m = m0 + mine_m + i, n = n0 + mine_n + j;
      if (m >= s.M || n >= s.N) continue;
      To* to = c + m * s.N + n;
      float v = sum[i][j];
      if (accumulate) v += to_float(*to);
      if (bias != nullptr) v += to_float(bias[n]);
      *to = from_float<To>(clip(v));
    }
  }
}

}  // namespace

template <class To, class From>
cudaError_t gemm(cudaStream_t stream, To* c, const From* a, const From* b, const To* bias, const GemmShape& shape, bool accumulate,
                 Clip clip) {
  if (shape.M <= 0 || shape.N <= 0) return cudaSuccess;
  constexpr int64_t kMostItems = 65535;  // blocks along y
  const int64_t tiles_m = ceil_div(shape.M, kBlock), tiles_n = ceil_div(shape.N, kBlock);
  for (int64_t first = 0; first < shape.batch; first += kMostItems) {
    const dim3 grid = grid_of(tiles_m * tiles_n, std::min(kMostItems, shape.batch - first));
    const cudaError_t error = launch(stream, gemm_kernel<To, From>, grid, kThreads, c, a, b, bias, shape, tiles_n, first, accumulate, clip);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

#define ACTMATCH_GEMM(TO, FROM) \
  template cudaError_t gemm<TO, FROM>(cudaStream_t, TO*, const FROM*, const FROM*, const TO*, const GemmShape&, bool, Clip);
ACTMATCH_GEMM(float, float)
ACTMATCH_GEMM(bfloat16, bfloat16)
ACTMATCH_GEMM(float, bfloat16)
#undef ACTMATCH_GEMM

}  // namespace actmatch::kernels::cuda
