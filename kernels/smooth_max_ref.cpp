// One row of window cells at a time. Cells and the kernel are spread over the pixels of a row first, so that the loops with the exponential
// run along the row on contiguous numbers and vectorise.
#include "kernels/smooth_max.h"

#include <algorithm>
#include <vector>

#include "kernels/vector_math.h"
#include "kernels/vectorise.h"

namespace actmatch::kernels {

namespace {

// What all rows share for one v: kernel[phase, u, x] is the kernel of window cell (v, u) at pixel x of a row with y % step = phase.
template <class T>
struct Spread {
  Spread(const SmoothMaxShape& shape)
      : step(shape.step),
        R(shape.radius),
        W(shape.width),
        h(shape.cells_high()),
        w(shape.cells_wide()),
        kernel(static_cast<size_t>(step * (2 * R + 1) * W)),
        cells(static_cast<size_t>((w + 2 * R) * step), T(0)) {}

  void set_kernel(const T* table, int64_t v) {
    const int64_t n = (2 * R + 1) * step;
    for (int64_t phase = 0; phase < step; ++phase)
      for (int64_t u = -R; u <= R; ++u) {
        const T* row = table + ((R - v) * step + phase) * n + (R - u) * step;
        T* out = kernel.data() + (phase * (2 * R + 1) + u + R) * W;
        for (int64_t x = 0; x < W; ++x) out[x] = row[x % step];
      }
  }
  void set_cells(const T* a) {
    for (int64_t g = 0; g < w; ++g) std::fill_n(cells.data() + (R + g) * step, step, a[g]);
  }
  const T* kernel_of(int64_t phase, int64_t u) const { return kernel.data() + (phase * (2 * R + 1) + u + R) * W; }
  const T* cells_of(int64_t u) const { return cells.data() + (R + u) * step; }  // at pixel x: the value of cell x / step + u

  int64_t step, R, W, h, w;
  std::vector<T> kernel, cells;
};

template <class T>
ACTMATCH_INLINE void add_terms(T* M, T* Z, const T* kernel, const T* cells, T c, int64_t W) {
  for (int64_t x = 0; x < W; ++x) {
    const T t = kernel[x] * cells[x], e = exp_vec(c * (t - 1));
    Z[x] += e;
    M[x] += t * e;
  }
}

template <class T>
ACTMATCH_INLINE void add_gradients(T* sum, const T* dM_over_Z, const T* M, const T* kernel, const T* cells, T c, int64_t W) {
  for (int64_t x = 0; x < W; ++x) {
    const T t = kernel[x] * cells[x];
    sum[x] += dM_over_Z[x] * kernel[x] * exp_vec(c * (t - 1)) * (1 + c * (t - M[x]));
  }
}

ACTMATCH_MULTIVERSION void terms_of_row(float* M, float* Z, const float* kernel, const float* cells, float c, int64_t W) {
  add_terms(M, Z, kernel, cells, c, W);
}
void terms_of_row(double* M, double* Z, const double* kernel, const double* cells, double c, int64_t W) {
  add_terms(M, Z, kernel, cells, c, W);
}
ACTMATCH_MULTIVERSION void gradients_of_row(float* sum, const float* dM_over_Z, const float* M, const float* kernel, const float* cells,
                                            float c, int64_t W) {
  add_gradients(sum, dM_over_Z, M, kernel, cells, c, W);
}
void gradients_of_row(double* sum, const double* dM_over_Z, const double* M, const double* kernel, const double* cells, double c,
                      int64_t W) {
  add_gradients(sum, dM_over_Z, M, kernel, cells, c, W);
}

}  // namespace

template <class T>
void smooth_max_ref(T* M, T* Z, const T* a, const T* table, const SmoothMaxShape& shape, int64_t B) {
  Spread<T> spread(shape);
  const int64_t H = shape.height, W = shape.width, h = spread.h, w = spread.w, step = shape.step, R = shape.radius;
  const T c = static_cast<T>(shape.coldness), outside = static_cast<T>(2 * R + 1) * exp_vec(-c);
  std::fill_n(M, B * H * W, T(0));
  std::fill_n(Z, B * H * W, T(0));
  for (int64_t v = -R; v <= R; ++v) {
    spread.set_kernel(table, v);
    for (int64_t b = 0; b < B; ++b)
      for (int64_t y = 0; y < H; ++y) {
        T *m = M + (b * H + y) * W, *z = Z + (b * H + y) * W;
        const int64_t gy = y / step + v;
        if (gy < 0 || gy >= h) {
          for (int64_t x = 0; x < W; ++x) z[x] += outside;
          continue;
        }
        if (y % step == 0) spread.set_cells(a + (b * h + gy) * w);
        for (int64_t u = -R; u <= R; ++u) terms_of_row(m, z, spread.kernel_of(y % step, u), spread.cells_of(u), c, W);
      }
  }
  for (int64_t i = 0; i < B * H * W; ++i) M[i] /= Z[i];
}

template <class T>
void smooth_max_backward_ref(T* da, const T* dM, const T* M, const T* Z, const T* a, const T* table, const SmoothMaxShape& shape,
                             int64_t B) {
  Spread<T> spread(shape);
  const int64_t H = shape.height, W = shape.width, h = spread.h, w = spread.w, step = shape.step, R = shape.radius;
  const T c = static_cast<T>(shape.coldness);
  std::vector<double> total(static_cast<size_t>(B * h * w), 0.0);
  std::vector<T> sums(static_cast<size_t>((2 * R + 1) * W));  // of the rows of one cell row, for each u
  std::vector<T> dM_over_Z(static_cast<size_t>(B * H * W));   // once a pixel: every cell of its window divides by Z
  for (size_t i = 0; i < dM_over_Z.size(); ++i) dM_over_Z[i] = dM[i] / Z[i];
  for (int64_t v = -R; v <= R; ++v) {
    spread.set_kernel(table, v);
    for (int64_t b = 0; b < B; ++b)
      for (int64_t gy = std::max<int64_t>(0, v); gy < h; ++gy) {  // pixels of cell row gy - v see it
        const int64_t top = (gy - v) * step, bottom = std::min(H, top + step);
        if (top >= bottom) break;
        spread.set_cells(a + (b * h + gy) * w);
        std::fill(sums.begin(), sums.end(), T(0));
        for (int64_t y = top; y < bottom; ++y)
          for (int64_t u = -R; u <= R; ++u) {
            const int64_t at = (b * H + y) * W;
            gradients_of_row(sums.data() + (u + R) * W, dM_over_Z.data() + at, M + at, spread.kernel_of(y - top, u), spread.cells_of(u), c,
                             W);
          }
        for (int64_t u = -R; u <= R; ++u)
          for (int64_t g = std::max<int64_t>(0, u); g < std::min(w, (W + step - 1) / step + u); ++g) {  // pixels of cell g - u see it
            const T* sum = sums.data() + (u + R) * W;
            double& of_cell = total[static_cast<size_t>((b * h + gy) * w + g)];
            for (int64_t x = (g - u) * step; x < std::min(W, (g - u + 1) * step); ++x) of_cell += static_cast<double>(sum[x]);
          }
      }
  }
  for (size_t i = 0; i < total.size(); ++i) da[i] = static_cast<T>(total[i]);
}

#define ACTMATCH_INSTANTIATE(T)                                                                \
  template void smooth_max_ref<T>(T*, T*, const T*, const T*, const SmoothMaxShape&, int64_t); \
  template void smooth_max_backward_ref<T>(T*, const T*, const T*, const T*, const T*, const T*, const SmoothMaxShape&, int64_t);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
