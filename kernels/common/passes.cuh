// ComposePass as a kernel's argument, by value.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {

struct Passes {
  ComposePass<float> pass[kComposePasses];
  int64_t first, count;  // number of pass[0] among all passes of the call, and how many are here
};

__device__ __forceinline__ float background_at(const ComposePass<float>& pass, int64_t b, int64_t c, int64_t i, int64_t C, int64_t HW) {
  if (pass.layout == BackgroundLayout::kColour) return pass.background[c];
  if (pass.layout == BackgroundLayout::kColourPerItem) return pass.background[b * C + c];
  const int64_t item = pass.layout == BackgroundLayout::kImage ? 0 : b * C;
  return pass.background[(item + c) * HW + i];
}

// Calls run(passes) for at most kComposePasses at a time, until one fails.
template <class Run>
cudaError_t in_chunks(const ComposePass<float>* passes, int64_t P, Run run) {
  for (int64_t first = 0; first < P; first += kComposePasses) {
    Passes chunk{};
    chunk.first = first;
    chunk.count = std::min(kComposePasses, P - first);
    std::copy_n(passes + first, chunk.count, chunk.pass);
    const cudaError_t error = run(chunk);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace actmatch::kernels::cuda
