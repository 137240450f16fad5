#include "kernels/common/several.cuh"
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

__global__ void fill_parts_kernel(Several<FillPart> parts, float value) {
  const int which = parts.mine();
  const int64_t i = parts.index_in(which);
  if (i < parts.part[which].count) parts.part[which].data[i] = value;
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

cudaError_t fill_parts(cudaStream_t stream, std::span<const FillPart> parts, float value) {
  return launch_several(stream, fill_parts_kernel, parts, value);
}

}  // namespace actmatch::kernels::cuda
