// top_select.h for one block: the k-th largest of a row by radix selection, histograms of the digits in shared memory. Integer atomics give
// the same counts in any order. Bound by those atomics where many numbers share a digit.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/common/reduce.cuh"
#include "kernels/top_select.h"

namespace actmatch::kernels::cuda {

inline constexpr int kSelectThreads = 1024;  // two bins of the histogram each

struct BlockSelection {
  uint32_t key = 0;  // of the k-th largest value
  int ties = 0;      // how many values equal to it are inside
  int equal = 0;     // how many there are
};

// 1 <= k <= n; every thread of the block gets the result.
static __device__ BlockSelection block_select_top(const float* x, int n, int k) {
  constexpr int kDigit = 11, kBins = 1 << kDigit;
  __shared__ int histogram[kBins];
  __shared__ int found[3];  // digit, rank inside its bin, size of its bin
  const int t = thread_index();
  uint32_t prefix = 0, fixed = 0;
  int wanted = k, equal = 0;
  for (int low = 32; low > 0;) {
    const int width = low < kDigit ? low : kDigit;
    low -= width;
    const uint32_t digit_mask = (1u << width) - 1;
    histogram[2 * t] = histogram[2 * t + 1] = 0;
    __syncthreads();
    for (int i = t; i < n; i += kSelectThreads) {
      const uint32_t key = order_key(x[i]);
      if ((key & fixed) == prefix) atomicAdd(&histogram[(key >> low) & digit_mask], 1);
    }
    __syncthreads();
    // Thread t looks at the t-th pair of bins from above.
    const int bin = kBins - 1 - 2 * t, upper = histogram[bin], lower = histogram[bin - 1];
    int total;
    const int above = block_scan(upper + lower, &total);
    if (above < wanted && wanted <= above + upper + lower) {
      const bool in_upper = wanted <= above + upper;
      found[0] = in_upper ? bin : bin - 1;
      found[1] = in_upper ? wanted - above : wanted - above - upper;
      found[2] = in_upper ? upper : lower;
    }
    __syncthreads();
    prefix |= static_cast<uint32_t>(found[0]) << low;
    wanted = found[1];
    equal = found[2];
    fixed |= digit_mask << low;
    __syncthreads();
  }
  return {prefix, wanted, equal};
}

// Calls visit(i, inside) once for every index. Where some of the equal values stay outside, rows of kSelectThreads are counted in order.
template <class Visit>
__device__ __forceinline__ void block_visit_top(const float* x, int n, BlockSelection selection, Visit visit) {
  const bool split = selection.ties < selection.equal;
  int ties_before = 0;
  for (int begin = 0; begin < n; begin += kSelectThreads) {
    const int i = begin + thread_index();
    const uint32_t key = i < n ? order_key(x[i]) : 0;
    const bool tie = i < n && key == selection.key;
    int rank = 0, ties = 0;
    if (split) rank = ties_before + block_scan(tie ? 1 : 0, &ties);
    ties_before += ties;
    if (i < n) visit(i, key > selection.key || (tie && rank < selection.ties));
  }
}

}  // namespace actmatch::kernels::cuda
