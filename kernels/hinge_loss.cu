// Losses whose gradient reaches one or two logits of a row, and the class scores. One block a row.
#include "kernels/common/rival.cuh"
#include "kernels/common/softmax.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

// weight at `up`, -weight at `down`, nothing elsewhere; -1 for neither.
__device__ __forceinline__ void emit_pair(float* gradient, int64_t K, float weight, int64_t up, int64_t down, bool accumulate) {
  for (int64_t j = threadIdx.x; j < K; j += blockDim.x) {
    const float d = j == up ? weight : (j == down ? -weight : 0.0f);
    if (!accumulate || j == up || j == down) emit(gradient + j, d, accumulate);
  }
}

__global__ void __launch_bounds__(kThreads) margin_hinge_kernel(float* value, float* gradient, const float* z, const int32_t* label,
                                                                const float* weight, float margin, int64_t B, int64_t K, bool accumulate) {
  const int64_t n = blockIdx.x, y = label[n % B];
  const float* row = z + n * K;
  const int64_t rival = block_first_largest(row, K, y);
  const float gap = rival < 0 ? 0.0f : margin - (row[y] - row[rival]);
  const bool inactive = gap <= 0;  // false for NaN, which is passed on
  if (threadIdx.x == 0) value[n] = inactive ? 0.0f : gap;
  if (gradient != nullptr) emit_pair(gradient + n * K, K, weight[n], inactive ? -1 : rival, inactive ? -1 : y, accumulate);
}

__global__ void __launch_bounds__(kThreads)
    necessity_hinge_kernel(float* value, float* gradient, const float* z, const float* target, const int32_t* label, const float* weight,
                           float margin, int64_t B, int64_t K, bool accumulate) {
  const int64_t n = blockIdx.x, b = n % B, y = label[b];
  const float gap = margin - (target[b * K + y] - z[n * K + y]);
  const bool inactive = gap <= 0;
  if (threadIdx.x == 0) value[n] = inactive ? 0.0f : gap;
  if (gradient != nullptr) emit_pair(gradient + n * K, K, weight[n], inactive ? -1 : y, -1, accumulate);
}

__global__ void __launch_bounds__(kThreads)
    class_scores_kernel(int32_t* top, float* p_label, const float* z, const int32_t* label, int64_t B, int64_t K) {
  const int64_t n = blockIdx.x;
  const float* row = z + n * K;
  if (top != nullptr) {
    int undefined = 0;
    for (int64_t j = threadIdx.x; j < K; j += kThreads) undefined += row[j] != row[j] ? 1 : 0;
    undefined = block_sum(undefined);
    const int64_t best = block_first_largest(row, K, -1);
    if (threadIdx.x == 0) top[n] = undefined > 0 ? -1 : static_cast<int32_t>(best);
  }
  if (p_label != nullptr) {
    const RowSoftmax q = block_softmax(row, K, 1.0f);
    if (threadIdx.x == 0) p_label[n] = q[label[n % B]];
  }
}

}  // namespace

cudaError_t margin_hinge(cudaStream_t stream, float* value, float* gradient, const float* z, const int32_t* label, const float* weight,
                         float margin, int64_t B, int64_t P, int64_t K, bool accumulate) {
  return launch(stream, margin_hinge_kernel, grid_of(P * B), kThreads, value, gradient, z, label, weight, margin, B, K, accumulate);
}

cudaError_t necessity_hinge(cudaStream_t stream, float* value, float* gradient, const float* z, const float* target, const int32_t* label,
                            const float* weight, float margin, int64_t B, int64_t P, int64_t K, bool accumulate) {
  return launch(stream, necessity_hinge_kernel, grid_of(P * B), kThreads, value, gradient, z, target, label, weight, margin, B, K,
                accumulate);
}

cudaError_t class_scores(cudaStream_t stream, int32_t* top, float* p_label, const float* z, const int32_t* label, int64_t B, int64_t P,
                         int64_t K) {
  return launch(stream, class_scores_kernel, grid_of(P * B), kThreads, top, p_label, z, label, B, K);
}

}  // namespace actmatch::kernels::cuda
