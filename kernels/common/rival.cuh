// The largest of a row but one, by one block.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/common/reduce.cuh"
#include "kernels/top_select.h"

namespace actmatch::kernels::cuda {

// Index of the largest z[j], j != skip, the first of equals; -1 when there is none. As in the reference, a NaN is passed over unless it
// comes first. K < 2^32.
__device__ __forceinline__ int64_t block_first_largest(const float* z, int64_t K, int64_t skip) {
  const int64_t start = skip == 0 ? 1 : 0;
  if (start >= K) return -1;
  // Value above, complement of the index below: the largest word is the first of the largest values.
  uint64_t best = 0;
  for (int64_t j = threadIdx.x; j < K; j += blockDim.x) {
    if (j == skip) continue;
    const uint64_t word = (static_cast<uint64_t>(order_key(z[j])) << 32) | (0xffffffffu - static_cast<uint32_t>(j));
    best = larger(best, word);
  }
  best = block_max(best);
  if (z[start] != z[start]) return start;
  return static_cast<int64_t>(0xffffffffu - static_cast<uint32_t>(best));
}

}  // namespace actmatch::kernels::cuda
