// One thread a number.
#include "kernels/common/several.cuh"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::cuda {
namespace {

__global__ void narrow_kernel(Several<Narrowing> arrays) {
  const int which = arrays.mine();
  const int64_t i = arrays.index_in(which);
  if (i < arrays.part[which].count) arrays.part[which].to[i] = from_float<bfloat16>(arrays.part[which].from[i]);
}

}  // namespace

cudaError_t narrow(cudaStream_t stream, std::span<const Narrowing> arrays) { return launch_several(stream, narrow_kernel, arrays); }

}  // namespace actmatch::kernels::cuda
