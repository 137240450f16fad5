#include "kernels/common/launch.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

__global__ void fill_kernel(float* x, float value, int64_t count) {
  const int64_t i = flat_index();
  if (i < count) x[i] = value;
}

__global__ void clamp_below_kernel(float* x, float least, int64_t count) {
  const int64_t i = flat_index();
  if (i < count && x[i] < least) x[i] = least;
}

__global__ void advance_kernel(uint32_t* counter, uint32_t amount) {
  if (threadIdx.x == 0) *counter += amount;
}

}  // namespace

cudaError_t fill(cudaStream_t stream, float* x, float value, int64_t count) {
  return launch(stream, fill_kernel, grid_of(ceil_div(count, kThreads)), kThreads, x, value, count);
}

cudaError_t clamp_below(cudaStream_t stream, float* x, float least, int64_t count) {
  return launch(stream, clamp_below_kernel, grid_of(ceil_div(count, kThreads)), kThreads, x, least, count);
}

cudaError_t advance(cudaStream_t stream, uint32_t* counter, uint32_t amount) {
  return launch(stream, advance_kernel, grid_of(1), 32, counter, amount);
}

}  // namespace actmatch::kernels::cuda
