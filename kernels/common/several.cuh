// Several arrays in one launch: for one picture a launch costs more than a small array. Every block works on one of them.
#pragma once

#include <algorithm>
#include <span>

#include "kernels/common/launch.cuh"

namespace actmatch::kernels::cuda {

// By value to the kernel, so that a recorded step keeps them. kMost: with an array's description of 40 bytes this is about 2 KiB of the 4
// KiB that a kernel may be given.
template <class Part>
struct Several {
  static constexpr int kMost = 48;
  Part part[kMost];
  int64_t first_block[kMost];
  int count = 0;

  // The array that this block works on.
  __device__ __forceinline__ int mine() const {
    int n = 0;
    while (n + 1 < count && first_block[n + 1] <= static_cast<int64_t>(blockIdx.x)) ++n;
    return n;
  }
  // The element of array n that is this thread's; beyond its end for the last threads.
  __device__ __forceinline__ int64_t index_in(int n) const {
    return (static_cast<int64_t>(blockIdx.x) - first_block[n]) * kThreads + static_cast<int64_t>(threadIdx.x);
  }
};

// A thread for each element of each array (Part::count), kMost arrays to a launch.
template <class Part, class... Parameters, class... Arguments>
cudaError_t launch_several(cudaStream_t stream, void (*kernel)(Several<Part>, Parameters...), std::span<const Part> parts,
                           Arguments... arguments) {
  for (size_t begin = 0; begin < parts.size(); begin += Several<Part>::kMost) {
    Several<Part> several;
    int64_t blocks = 0;
    for (const Part& part : parts.subspan(begin, std::min<size_t>(parts.size() - begin, Several<Part>::kMost))) {
      if (part.count == 0) continue;
      several.part[several.count] = part;
      several.first_block[several.count++] = blocks;
      blocks += ceil_div(part.count, kThreads);
    }
    if (const cudaError_t status = launch(stream, kernel, grid_of(blocks), kThreads, several, arguments...); status != cudaSuccess)
      return status;
  }
  return cudaSuccess;
}

}  // namespace actmatch::kernels::cuda
