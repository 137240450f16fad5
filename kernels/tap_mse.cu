// MSE: eight numbers a thread.
#include "kernels/common/softmax.cuh"
#include "kernels/common/tap.cuh"

namespace actmatch::kernels::cuda {
namespace {

constexpr int kItems = 8;

// run(i) for this thread's numbers of an image.
template <class Run>
__device__ __forceinline__ void each(int64_t size, Run run) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kThreads * kItems + threadIdx.x;
  for (int k = 0; k < kItems; ++k)
    if (begin + k * kThreads < size) run(begin + k * kThreads);
}

__device__ __forceinline__ void store_partial(double* partial, double sum) {
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) mse_prepare_kernel(double* partial, TapPrepareArguments a) {
  const int64_t size = a.shape.C * a.shape.HW, offset = static_cast<int64_t>(blockIdx.y) * size;
  double sum = 0;
  each(size, [&](int64_t i) {
    const float x = a.reference[offset + i];
    sum += static_cast<double>(x * x);
    a.prepared[offset + i] = x;
  });
  store_partial(partial, sum);
}

__global__ void __launch_bounds__(kThreads) mse_kernel(double* partial, TapDistanceArguments a) {
  const int64_t n = blockIdx.y, b = n % a.shape.B, size = a.shape.C * a.shape.HW;
  const double denominator = static_cast<double>(a.constant[b]) * static_cast<double>(size);
  const float scale = static_cast<float>(2 * static_cast<double>(a.weight[n]) / denominator);
  double sum = 0;
  each(size, [&](int64_t i) {
    const float d = a.current[n * size + i] - a.prepared[b * size + i];
    sum += static_cast<double>(d * d);
    if (a.gradient != nullptr) emit(a.gradient + n * size + i, scale * d, a.accumulate);
  });
  store_partial(partial, sum);
}

}  // namespace

int64_t tap_mse_partials(const TapShape& shape) { return ceil_div(shape.C * shape.HW, int64_t{kThreads} * kItems); }

cudaError_t tap_mse(cudaStream_t stream, double* partial, const TapDistanceArguments& a) {
  return launch(stream, mse_kernel, grid_of(tap_mse_partials(a.shape), a.shape.P * a.shape.B), kThreads, partial, a);
}

cudaError_t tap_mse_prepare(cudaStream_t stream, double* partial, const TapPrepareArguments& a) {
  return launch(stream, mse_prepare_kernel, grid_of(tap_mse_partials(a.shape), a.shape.B), kThreads, partial, a);
}

}  // namespace actmatch::kernels::cuda
