// Resizing of planes, x [N, C, h, w] -> y [N, C, H, W] up or down, and the transpose for the gradient. `planes` is N*C.
//
//   bilinear: source coordinate (i + 1/2) * h/H - 1/2, clamped to [0, h-1], then linear between the two neighbours
//             (PyTorch's interpolate, align_corners = false, no antialiasing)
//   nearest:  source index floor(i * h/H)
//
// The transposes satisfy <backward(u), x> = <u, forward(x)> and add in the order of the output pixels. Bound by memory traffic.
#pragma once

#include <cstdint>

namespace actmatch::kernels {

template <class T>
void resize_bilinear_ref(T* y, const T* x, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W);
template <class T>
void resize_nearest_ref(T* y, const T* x, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W);

// dx [planes, h, w] = (or +=) transpose applied to dy [planes, H, W].
template <class T>
void resize_bilinear_backward_ref(T* dx, const T* dy, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W, bool accumulate);
template <class T>
void resize_nearest_backward_ref(T* dx, const T* dy, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W, bool accumulate);

}  // namespace actmatch::kernels
