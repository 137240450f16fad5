// Smoothing with a width of its own at every pixel (input mask optimisation, arXiv 2508.11388): each pixel spreads its weight over a
// window.
//
//   s_i = sum over j in the window of i of  w_j exp(-|i - j|^2 / q_j),   |i - j| in pixels, the window 2 R + 1 pixels a side
//
// w and q are continued beyond the border by their border values: sources j there count with their own distance. One pass each way: the
// windows are never laid out in memory, and the gradient is gathered, not scattered.
//
//   dw_j = sum over i of ds_i exp(-|i - j|^2 / q_j)                 summed over the pixel's copies beyond the border
//   dq_j = sum over i of ds_i w_j exp(..) |i - j|^2 / q_j^2 + log_weight / q_j
//
// The last term is the gradient of log_weight * sum of log q. Bound by arithmetic: (2 R + 1)^2 products a pixel, on CUDA as many
// exponentials.
#pragma once

#include <algorithm>
#include <cstdint>

namespace actmatch::kernels {

// Numbers of scratch memory that either direction takes.
inline int64_t variable_smooth_scratch(int64_t radius, int64_t B, int64_t H, int64_t W) {
  return std::max(2 * B * (H + 2 * radius) * (W + 2 * radius), (radius + 6) * (W + 4 * radius));
}

// s, w, q [B, H, W]; q > 0.
template <class T>
void variable_smooth_ref(T* s, T* scratch, const T* w, const T* q, int64_t radius, int64_t B, int64_t H, int64_t W);

// Overwrites dw and dq.
template <class T>
void variable_smooth_backward_ref(T* dw, T* dq, T* scratch, const T* ds, const T* w, const T* q, T log_weight, int64_t radius, int64_t B,
                                  int64_t H, int64_t W);

}  // namespace actmatch::kernels
