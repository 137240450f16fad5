// A mask from a coarse grid by a smooth maximum (extremal perturbations, Fong, Patrick, Vedaldi 2019). Cell (gy, gx) of the grid a [h, w]
// has its centre at step * g + (step - 1) / 2; a pixel sees the cells of a window of 2 R + 1 a side around its own, cell pixel / step.
// Cells of the window that lie outside the grid count with a = 0.
//
//   t_i = k_i(u) a_i,   M(u) = sum over i of t_i softmax_i(c t_i)
//
// k [n, n], n = (2 R + 1) step, is the kernel at a pixel's place in a cell's support: smooth_max_table() fills in exp(-2 relu(d / sigma -
// .5)^2) with d the distance in pixels. M and Z = sum of exp(c (t_i - 1)) are kept for the gradient:
//
//   da_i = sum over u of dM(u) k_i(u) exp(c (t_i - 1)) / Z(u) (1 + c (t_i - M(u)))
//
// h = ceil(H / step), w = ceil(W / step), a in 0..1. Bound by the exponential: (2 R + 1)^2 a pixel, each way.
#pragma once

#include <cmath>
#include <cstdint>

namespace actmatch::kernels {

struct SmoothMaxShape {
  int64_t step = 7, radius = 4;  // pixels; cells
  double coldness = 20;
  int64_t height = 0, width = 0;  // of the mask

  int64_t cells_high() const { return (height + step - 1) / step; }
  int64_t cells_wide() const { return (width + step - 1) / step; }
  int64_t support() const { return (2 * radius + 1) * step; }
};

// table [support, support].
template <class T>
void smooth_max_table(T* table, const SmoothMaxShape& shape, double sigma) {
  const int64_t n = shape.support();
  const double centre = static_cast<double>(shape.radius * shape.step) + static_cast<double>(shape.step - 1) / 2;
  for (int64_t y = 0; y < n; ++y)
    for (int64_t x = 0; x < n; ++x) {
      const double dy = static_cast<double>(y) - centre, dx = static_cast<double>(x) - centre;
      const double over = std::sqrt(dy * dy + dx * dx) / sigma - 0.5;
      table[y * n + x] = static_cast<T>(over > 0 ? std::exp(-2 * over * over) : 1.0);
    }
}

// M, Z [B, H, W]; a [B, h, w]; table [support, support].
template <class T>
void smooth_max_ref(T* M, T* Z, const T* a, const T* table, const SmoothMaxShape& shape, int64_t B);
// Overwrites da [B, h, w].
template <class T>
void smooth_max_backward_ref(T* da, const T* dM, const T* M, const T* Z, const T* a, const T* table, const SmoothMaxShape& shape,
                             int64_t B);

}  // namespace actmatch::kernels
