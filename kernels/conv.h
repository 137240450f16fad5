// Convolution and its gradients on NHWC activations, with weights of their own for each part of the batch.
//
//   y[n, p, q, k] = bias[i, k] + sum over r, s, c of w[i, k, r, s, c] * x[n, p*stride_h + r*dilation_h - pad_top,
//                                                                         q*stride_w + s*dilation_w - pad_left, g*C/groups + c]
//
// x outside the image counts as 0. g = k / (K/groups) is the group, and i = n / (N/instances) the instance: the batch is cut into
// `instances` equal consecutive parts, and each has its own weights and bias. One instance is an ordinary convolution.
//
//   x [N, H, W, C]    w [instances, K, R, S, C/groups]    bias [instances, K]    y [N, P, Q, K]
//
// A transposed convolution is the gradient to x of a convolution: its input is dy [N, P, Q, K], its result dx [N, H, W, C], and its
// weights [C_in, C_out/groups, R, S] of the graph lie in memory as [K, R, S, C/groups].
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/clip.h"

namespace actmatch::kernels {

// The bottom and right pads follow from P and Q: windows may end anywhere behind the image. P and Q are given, as H and W do not say them
// for a transposed convolution.
struct ConvShape {
  int64_t N = 1, H = 1, W = 1, C = 1;  // x
  int64_t P = 1, Q = 1, K = 1;         // y
  int64_t R = 1, S = 1;                // w
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0;       // >= 0
  int64_t dilation_h = 1, dilation_w = 1;  // 1 = dense
  int64_t groups = 1, instances = 1;       // groups divides C and K, instances divides N
};

// y = clip(conv(x, w) + bias + addend); bias and addend (like y) may be null.
template <class T>
void conv_ref(T* y, const T* x, const T* w, const T* bias, const T* addend, const ConvShape& shape, const Clip& clip);

// dx = clip(gradient from dy + bias + addend), bias [instances, C]; a transposed convolution has the bias and the clip, a gradient neither.
template <class T>
void conv_backward_data_ref(T* dx, const T* dy, const T* w, const T* bias, const T* addend, const ConvShape& shape, const Clip& clip);

// dw = (or +=) the gradient from x and dy.
template <class T>
void conv_backward_filter_ref(T* dw, const T* x, const T* dy, const ConvShape& shape, bool accumulate);

// db [instances, channels] = (or +=) the sums of dy [N, positions, channels].
template <class T>
void conv_backward_bias_ref(T* db, const T* dy, int64_t N, int64_t positions, int64_t channels, int64_t instances, bool accumulate);

}  // namespace actmatch::kernels
