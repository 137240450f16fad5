// Random backgrounds, defined in 8-bit pixel units whatever the network's scaling, and reproducible from a seed alone.
//
// Background number k = 0, 1, 2, ... of (seed, stream, image), per channel c and pixel (y, x), with u, S, v independent N(0, 1):
//
//   k % 3 = 0  constant   mu[c] + sigma[c] u[c]
//   k % 3 = 1  smooth     mu[c] + sigma[c] (u[c] / 2 + up(S[c])[y, x])
//   k % 3 = 2  white      mu[c] + sigma[c] (u[c] / 2 + v[c, y, x] / 2)
//
// not clipped and not rounded; the network sees pixel * scale[c] + offset[c]. S[c] is an n x n grid with n = 4, 8, 16 for
// (k / 3) % 3 = 0, 1, 2, brought to H x W by bicubic interpolation: source coordinate s = (i + 1/2) n / H - 1/2, cell floor(s), the four
// cells floor(s) - 1 .. floor(s) + 2 each clamped to the grid, Keys' weights with a = -0.75 (PyTorch's interpolate, mode bicubic,
// align_corners = false).
//
// Where the numbers come from (philox.h): counter = (index / 4, k, stream + 256 field, image), key = the seed's low and high half;
// number `index` of a field is number index % 4 of its block. Fields and indices:
//
//   field 0   u[c]          index c
//   field 1   S[c, i, j]    index (c n + i) n + j
//   field 2   v[c, y, x]    index (c H + y) W + x
//
// All arithmetic is double; the result is rounded to T once, at the end. tests/kernels/philox_backgrounds.py says the same in numpy.
// Bound by the logarithm and the sines of white noise.
#pragma once

#include <cstdint>

#include "kernels/philox.h"

namespace actmatch::kernels {

inline constexpr int kMaxBackgroundChannels = 4;

struct BackgroundSpec {
  // In the network's channel order. Pixel units.
  double mu[kMaxBackgroundChannels] = {123.7, 116.3, 103.5, 0};
  double sigma[kMaxBackgroundChannels] = {58.4, 57.1, 57.4, 0};
  // Network value = pixel * scale + offset.
  double scale[kMaxBackgroundChannels] = {1, 1, 1, 1};
  double offset[kMaxBackgroundChannels] = {0, 0, 0, 0};
  int64_t channels = 3, height = 0, width = 0;  // 1 <= channels <= kMaxBackgroundChannels, channels * height * width < 2^32
  uint64_t seed = 0;

  bool operator==(const BackgroundSpec&) const = default;
};

// Which backgrounds come next. Devices read it from their own memory, so that a recorded step can count on.
struct BackgroundCursor {
  uint32_t image = 0;
  uint32_t first = 0;
};

// out [count, C, H, W] = backgrounds first .. first + count - 1, in network units.
template <class T>
void random_background_ref(T* out, const BackgroundSpec& spec, RandomStream stream, uint32_t image, uint32_t first, int64_t count);

}  // namespace actmatch::kernels
