// One thread a parameter, all tensors in one launch; the two numbers that depend on the step are worked out once a block, in double as in
// the reference.
#include "kernels/common/several.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__global__ void adam_kernel(Several<AdamTensor> tensors, AdamOptions options, const uint32_t* step, const double* learning_rate,
                            float gradient_scale) {
  __shared__ float shared[2];
  __shared__ int which;
  if (threadIdx.x == 0) {
    const double t = *step;
    shared[0] = static_cast<float>(*learning_rate / (1 - pow(options.beta1, t)));
    shared[1] = static_cast<float>(1 / sqrt(1 - pow(options.beta2, t)));
    which = tensors.mine();
  }
  __syncthreads();
  const AdamTensor& a = tensors.part[which];
  const int64_t i = tensors.index_in(which);
  if (i >= a.count) return;
  const float rate = shared[0], correction = shared[1];
  const float beta1 = static_cast<float>(options.beta1), rest1 = static_cast<float>(1 - options.beta1);
  const float beta2 = static_cast<float>(options.beta2), rest2 = static_cast<float>(1 - options.beta2);
  const float g = gradient_scale * a.gradient[i];
  const float m = beta1 * a.first[i] + rest1 * g;
  const float v = beta2 * a.second[i] + rest2 * (g * g);
  a.first[i] = m;
  a.second[i] = v;
  a.parameter[i] -= rate * m / (sqrtf(v) * correction + static_cast<float>(options.epsilon));
}

}  // namespace

cudaError_t adam(cudaStream_t stream, std::span<const AdamTensor> tensors, const AdamOptions& options, const uint32_t* step,
                 const double* learning_rate, float gradient_scale) {
  return launch_several(stream, adam_kernel, tensors, options, step, learning_rate, gradient_scale);
}

}  // namespace actmatch::kernels::cuda
