// What the launchers of the convolutions check, and sizes in 32 bits for their kernels.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <numeric>

#include "kernels/common/launch.cuh"
#include "kernels/conv.h"

namespace actmatch::kernels::cuda {

inline bool valid(const ConvShape& s) {
  constexpr int64_t kLimit = int64_t{1} << 31;
  const auto product_fits = [](std::initializer_list<int64_t> factors) {
    int64_t product = 1;
    for (int64_t f : factors) {
      if (f >= kLimit) return false;
      product *= std::max<int64_t>(f, 1);
      if (product >= kLimit) return false;
    }
    return true;
  };
  for (int64_t extent : {s.H, s.W, s.C, s.P, s.Q, s.K, s.R, s.S, s.stride_h, s.stride_w, s.dilation_h, s.dilation_w, s.groups, s.instances})
    if (extent < 1) return false;
  if (s.N < 0 || s.pad_top < 0 || s.pad_left < 0 || s.C % s.groups != 0 || s.K % s.groups != 0 || s.N % s.instances != 0) return false;
  // 128 more than there are: tiles are filled up.
  const int64_t images = s.N / s.instances;
  return product_fits({s.H, s.W, s.C}) && product_fits({s.P, s.Q, s.K}) && product_fits({images, s.H, s.W, 2}) &&
         product_fits({images, s.P, s.Q, 2}) && product_fits({s.R, s.S, std::max(s.C, s.K), 2}) && product_fits({s.P, s.stride_h, 4}) &&
         product_fits({s.Q, s.stride_w, 4}) && product_fits({s.R, s.dilation_h, 4}) && product_fits({s.S, s.dilation_w, 4}) &&
         product_fits({s.pad_top, 4}) && product_fits({s.pad_left, 4});
}

// Columns of a tile for so many columns of the product.
inline int tile_columns(int64_t columns) { return columns <= 8 ? 8 : columns <= 32 ? 32 : 64; }

inline int to_int(int64_t v) { return static_cast<int>(v); }

// One of the window's rows or columns of taps: of the larger map (x), of the smaller one (y), and how they meet.
struct ConvAxis {
  int large, small, taps, stride, pad, dilation;
  // Along the gradient to x: of a position's taps that hit the stride, one to the next, and how far apart they read.
  int tap_step, read_step;
};
inline ConvAxis axis_of(int64_t large, int64_t small, int64_t taps, int64_t stride, int64_t pad, int64_t dilation) {
  const int64_t common = std::gcd(stride, dilation);
  return {to_int(large),
          to_int(small),
          to_int(taps),
          to_int(stride),
          to_int(pad),
          to_int(dilation),
          to_int(stride / common),
          to_int(dilation / common)};
}
inline ConvAxis axis_h(const ConvShape& s) { return axis_of(s.H, s.P, s.R, s.stride_h, s.pad_top, s.dilation_h); }
inline ConvAxis axis_w(const ConvShape& s) { return axis_of(s.W, s.Q, s.S, s.stride_w, s.pad_left, s.dilation_w); }

// Position in the depth of a product: a tap of the window and a channel, the channel running fastest.
struct Tap {
  int row = 0, column = 0, channel = 0;

  __device__ __forceinline__ void advance(int by, int columns, int channels) {
    channel += by;
    while (channel >= channels) {
      channel -= channels;
      if (++column == columns) {
        column = 0;
        ++row;
      }
    }
  }
};

__device__ __forceinline__ bool inside(int i, int extent) { return i >= 0 && i < extent; }

}  // namespace actmatch::kernels::cuda
