// Images under hard masks of one picture, as checking and pruning want them: a list of jobs, each one mask before one background.
//
//   select_compose   out[j] = mask ? x : background        complement: mask ? background : x
//   select_gain      gain (+)= sign * sum over jobs and channels of gradient[j] * (x - background), in order of the jobs: how a sum over
//                    the composed images changes, in first order, when a pixel goes from background to picture
//
// A job may leave a box of pixels out of its mask: pruning tries a mask without each of its tiles, and only the one mask is copied to the
// device. Masks are bytes, 0 or 1; an image keeps its source's bits. Bound by memory traffic.
#pragma once

#include <cstdint>

#include "kernels/host_device.h"

namespace actmatch::kernels {

// Pixels (y, x) with top <= y < bottom and left <= x < right.
struct PixelBox {
  int32_t top = 0, left = 0, bottom = 0, right = 0;
  ACTMATCH_HD bool empty() const { return top >= bottom || left >= right; }
  ACTMATCH_HD bool holds(int64_t y, int64_t x) const { return y >= top && y < bottom && x >= left && x < right; }
};

struct SelectJob {
  int32_t mask = 0;        // which of the masks
  int32_t set = -1;        // which set the background is from; -1: it is the colour
  int32_t background = 0;  // which of the set
  PixelBox removed{};      // these pixels count as outside the mask; within the image
};

inline constexpr int kSelectSets = 4;

template <class T>
struct SelectSources {
  const T* x = nullptr;             // [C, H, W]
  const T* colour = nullptr;        // [C]
  const uint8_t* masks = nullptr;   // [masks, H, W]
  const T* sets[kSelectSets] = {};  // each [backgrounds, C, H, W]
};

// out [n, C, H, W]; jobs [n], device memory.
template <class T>
void select_compose_ref(T* out, const SelectSources<T>& sources, const SelectJob* jobs, bool complement, int64_t n, int64_t C, int64_t H,
                        int64_t W);

// gain [H, W], gradient [n, C, H, W]. `inside`: a job adds to the pixels of its mask alone; otherwise to all, and masks are not read.
template <class T>
void select_gain_ref(T* gain, const T* gradient, const SelectSources<T>& sources, const SelectJob* jobs, T sign, bool inside, int64_t n,
                     int64_t C, int64_t H, int64_t W, bool accumulate);

}  // namespace actmatch::kernels
