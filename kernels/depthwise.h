// Depthwise 3x3 convolution with its bias and a clip (ReLU, ReLU6), and the gradient to its input. NHWC:
//
//   y[n, i, j, c] = clip(bias[c] + sum over r, s < 3 of filter[r, s, c] * x[n, i*stride + r - pad_top, j*stride + s - pad_left, c])
//
// x outside the image counts as 0. Filters are [3, 3, C], the channel running fastest as in x, so that neighbours in memory are handled
// together. Nine multiplications a value: bound by memory traffic.
#pragma once

#include <cstdint>

#include "kernels/conv.h"

namespace actmatch::kernels {

struct DepthwiseShape {
  int64_t N = 0, H = 0, W = 0, C = 0;  // x
  int64_t outH = 0, outW = 0;          // y
  int64_t stride = 1;                  // 1 or 2
  int64_t pad_top = 1, pad_left = 1;   // 0 .. 2
};

// y [N, outH, outW, C]; bias [C] may be null.
template <class T>
void depthwise_ref(T* y, const T* x, const T* filter, const T* bias, const DepthwiseShape& shape, const Clip& clip);

// dx [N, H, W, C] = (or +=) gradient from dy [N, outH, outW, C], the gradient after the clip. y is the forward result, which says where the
// clip passes a gradient: low < y < high. It is not read for kNoClip and may be null then.
template <class T>
void depthwise_backward_ref(T* dx, const T* dy, const T* y, const T* filter, const DepthwiseShape& shape, const Clip& clip,
                            bool accumulate);

}  // namespace actmatch::kernels
