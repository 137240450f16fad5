// Which inputs an output of a resize reads, and the other way round. Coordinates in double: they agree with upsample_ref.cpp's.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace actmatch::kernels::cuda {

struct Taps {
  int64_t low, high;
  float fraction;
  // How much of cell i goes into the output.
  __device__ __forceinline__ float share(int64_t i) const { return (i == low ? 1.0f - fraction : 0.0f) + (i == high ? fraction : 0.0f); }
};

struct Bilinear {
  static __device__ __forceinline__ Taps taps(int64_t i, int64_t in, int64_t out) {
    const double limit = static_cast<double>(in - 1);
    const double source = fmin(fmax((static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5, 0.0), limit);
    const auto low = static_cast<int64_t>(source);
    return {low, low + 1 < in ? low + 1 : in - 1, static_cast<float>(source - static_cast<double>(low))};
  }
};
struct Nearest {
  static __device__ __forceinline__ Taps taps(int64_t i, int64_t in, int64_t out) { return {i * in / out, -1, 0.0f}; }
};

struct Range {
  int64_t begin, end;
};
// Outputs whose source coordinate lies within 1 of cell i, one more on both sides; the clamped ones belong to the first and last cell.
__device__ __forceinline__ Range outputs_of(int64_t i, int64_t in, int64_t out) {
  const double ratio = static_cast<double>(out) / static_cast<double>(in);
  const auto begin = static_cast<int64_t>(floor((static_cast<double>(i) - 0.5) * ratio)) - 2;
  const auto end = static_cast<int64_t>(ceil((static_cast<double>(i) + 1.5) * ratio)) + 2;
  return {i == 0 || begin < 0 ? 0 : begin, i == in - 1 || end > out ? out : end};
}

}  // namespace actmatch::kernels::cuda
