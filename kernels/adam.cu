// One thread a parameter; the two numbers that depend on the step are worked out once a block, in double as in the reference.
#include "kernels/common/launch.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__global__ void adam_kernel(float* parameter, float* first, float* second, const float* gradient, int64_t count, AdamOptions options,
                            const uint32_t* step, const double* learning_rate, float gradient_scale) {
  __shared__ float shared[2];
  if (threadIdx.x == 0) {
    const double t = *step;
    shared[0] = static_cast<float>(*learning_rate / (1 - pow(options.beta1, t)));
    shared[1] = static_cast<float>(1 / sqrt(1 - pow(options.beta2, t)));
  }
  __syncthreads();
  const int64_t i = flat_index();
  if (i >= count) return;
  const float rate = shared[0], correction = shared[1];
  const float beta1 = static_cast<float>(options.beta1), rest1 = static_cast<float>(1 - options.beta1);
  const float beta2 = static_cast<float>(options.beta2), rest2 = static_cast<float>(1 - options.beta2);
  const float g = gradient_scale * gradient[i];
  const float m = beta1 * first[i] + rest1 * g;
  const float v = beta2 * second[i] + rest2 * (g * g);
  first[i] = m;
  second[i] = v;
  parameter[i] -= rate * m / (sqrtf(v) * correction + static_cast<float>(options.epsilon));
}

}  // namespace

cudaError_t adam(cudaStream_t stream, float* parameter, float* first, float* second, const float* gradient, int64_t count,
                 const AdamOptions& options, const uint32_t* step, const double* learning_rate, float gradient_scale) {
  return launch(stream, adam_kernel, grid_of(ceil_div(count, kThreads)), kThreads, parameter, first, second, gradient, count, options, step,
                learning_rate, gradient_scale);
}

}  // namespace actmatch::kernels::cuda
