// Losses whose gradient reaches every logit. One block a row: a few thousand numbers, read again from the cache for each sweep.
#include "kernels/common/rival.cuh"
#include "kernels/common/softmax.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kThreads)
    kl_logits_kernel(float* value, float* gradient, const float* z, const float* target, const float* weight, float temperature, int64_t B,
                     int64_t K, bool accumulate) {
  const int64_t n = blockIdx.x;
  const float scale = 1.0f / temperature;
  const RowSoftmax p = block_softmax(target + (n % B) * K, K, scale), q = block_softmax(z + n * K, K, scale);
  const float factor = weight[n] * temperature;
  double divergence = 0;
  for (int64_t j = threadIdx.x; j < K; j += kThreads) {
    const float p_j = p[j];
    divergence += static_cast<double>(p_j) * (p.log_p(j) - q.log_p(j));
    if (gradient != nullptr) emit(gradient + n * K + j, factor * (q[j] - p_j), accumulate);
  }
  divergence = block_sum(divergence);
  if (threadIdx.x == 0) value[n] = static_cast<float>(divergence * static_cast<double>(temperature) * static_cast<double>(temperature));
}

__global__ void __launch_bounds__(kThreads) cross_entropy_kernel(float* value, float* gradient, const float* z, const int32_t* label,
                                                                 const float* weight, int64_t B, int64_t K, bool accumulate) {
  const int64_t n = blockIdx.x, y = label[n % B];
  const RowSoftmax q = block_softmax(z + n * K, K, 1.0f);
  if (threadIdx.x == 0) value[n] = static_cast<float>(-q.log_p(y));
  if (gradient == nullptr) return;
  for (int64_t j = threadIdx.x; j < K; j += kThreads) emit(gradient + n * K + j, weight[n] * (q[j] - (j == y ? 1.0f : 0.0f)), accumulate);
}

__global__ void __launch_bounds__(kThreads) necessity_log_kernel(float* value, float* gradient, const float* z, const int32_t* label,
                                                                 const float* weight, int64_t B, int64_t K, bool accumulate) {
  const int64_t n = blockIdx.x, y = label[n % B];
  const float* row = z + n * K;
  const int64_t rival = block_first_largest(row, K, y);
  if (rival < 0) {  // K = 1
    if (threadIdx.x == 0) {
      value[n] = 0;
      if (gradient != nullptr && !accumulate) gradient[n] = 0;
    }
    return;
  }
  const RowSoftmax q = block_softmax(row, K, 1.0f);
  // Softmax over the other classes, with its own largest logit: it stays exact where q[y] rounds to 1.
  const float hi = row[rival];
  double others = 0;
  for (int64_t j = threadIdx.x; j < K; j += kThreads) others += j == y ? 0.0 : static_cast<double>(expf(row[j] - hi));
  others = block_sum(others);
  if (threadIdx.x == 0) value[n] = static_cast<float>(static_cast<double>(q.hi - hi) + q.log_sum - log(others));
  if (gradient == nullptr) return;
  const float p_y = q[y], share = -p_y * static_cast<float>(1 / others);
  for (int64_t j = threadIdx.x; j < K; j += kThreads) {
    emit(gradient + n * K + j, weight[n] * (j == y ? p_y : share * expf(row[j] - hi)), accumulate);
  }
}

}  // namespace

cudaError_t kl_logits(cudaStream_t stream, float* value, float* gradient, const float* z, const float* target, const float* weight,
                      float temperature, int64_t B, int64_t P, int64_t K, bool accumulate) {
  return launch(stream, kl_logits_kernel, grid_of(P * B), kThreads, value, gradient, z, target, weight, temperature, B, K, accumulate);
}

cudaError_t cross_entropy(cudaStream_t stream, float* value, float* gradient, const float* z, const int32_t* label, const float* weight,
                          int64_t B, int64_t P, int64_t K, bool accumulate) {
  return launch(stream, cross_entropy_kernel, grid_of(P * B), kThreads, value, gradient, z, label, weight, B, K, accumulate);
}

cudaError_t necessity_log(cudaStream_t stream, float* value, float* gradient, const float* z, const int32_t* label, const float* weight,
                          int64_t B, int64_t P, int64_t K, bool accumulate) {
  return launch(stream, necessity_log_kernel, grid_of(P * B), kThreads, value, gradient, z, label, weight, B, K, accumulate);
}

}  // namespace actmatch::kernels::cuda
