// Source row by source row. exp(-(dy^2 + dx^2) / q) is a product of two numbers from a table [R + 1, columns] of that row; rows above and
// below at the same distance share their sums, and the innermost loops run along the row.
#include "kernels/variable_smooth.h"

#include "kernels/vector_math.h"
#include "kernels/vectorise.h"

namespace actmatch::kernels {

namespace {

// table[k, x] = exp(-k^2 / q) at the row's columns -R .. W - 1 + R, and the weights there.
template <class T>
ACTMATCH_INLINE void make_row_table(T* table, T* weight, const T* w, const T* q, int64_t radius, int64_t W) {
  const int64_t n = W + 2 * radius;
  for (int64_t x = 0; x < n; ++x) {
    const int64_t at = std::clamp<int64_t>(x - radius, 0, W - 1);
    weight[x] = w[at];
    table[x] = -1 / q[at];  // for now
  }
  for (int64_t k = radius; k >= 0; --k) {
    const T square = static_cast<T>(k * k);
    T* row = table + k * n;
    for (int64_t x = 0; x < n; ++x) row[x] = exp_vec(square * table[x]);
  }
}

// sum[x] = sum over l of product[x + R + l] table[|l|, x + R + l].
template <class T>
ACTMATCH_INLINE void sum_along_row(T* sum, const T* product, const T* table, int64_t radius, int64_t W) {
  const int64_t n = W + 2 * radius;
  std::fill_n(sum, W, T(0));
  for (int64_t l = -radius; l <= radius; ++l) {
    const T *a = product + radius + l, *e = table + (l < 0 ? -l : l) * n + radius + l;
    for (int64_t x = 0; x < W; ++x) sum[x] += a[x] * e[x];
  }
}

// What pixels at distances (k, +-l) hand back to the columns; `both` [W + 4 R] their gradients, zeros beside them.
template <class T>
ACTMATCH_INLINE void gather_along_row(T* by_weight, T* by_width, const T* both, const T* table, int64_t k, int64_t radius, int64_t W) {
  const int64_t n = W + 2 * radius;
  const T* e = table + k * n;
  for (int64_t l = 0; l <= radius; ++l) {
    const T *right = both + radius + l, *left = both + radius - l, *f = table + l * n;
    const T half = l == 0 ? T(0.5) : T(1), square = static_cast<T>(k * k + l * l);
    for (int64_t x = 0; x < n; ++x) {
      const T term = half * (right[x] + left[x]) * e[x] * f[x];
      by_weight[x] += term;
      by_width[x] += square * term;
    }
  }
}

// A name for both types, in vector code for float.
ACTMATCH_MULTIVERSION void row_table(float* table, float* weight, const float* w, const float* q, int64_t radius, int64_t W) {
  make_row_table(table, weight, w, q, radius, W);
}
void row_table(double* table, double* weight, const double* w, const double* q, int64_t radius, int64_t W) {
  make_row_table(table, weight, w, q, radius, W);
}
ACTMATCH_MULTIVERSION void sum_row(float* sum, const float* product, const float* table, int64_t radius, int64_t W) {
  sum_along_row(sum, product, table, radius, W);
}
void sum_row(double* sum, const double* product, const double* table, int64_t radius, int64_t W) {
  sum_along_row(sum, product, table, radius, W);
}
ACTMATCH_MULTIVERSION void gather_row(float* by_weight, float* by_width, const float* both, const float* table, int64_t k, int64_t radius,
                                      int64_t W) {
  gather_along_row(by_weight, by_width, both, table, k, radius, W);
}
void gather_row(double* by_weight, double* by_width, const double* both, const double* table, int64_t k, int64_t radius, int64_t W) {
  gather_along_row(by_weight, by_width, both, table, k, radius, W);
}

}  // namespace

template <class T>
void variable_smooth_ref(T* s, T* scratch, const T* w, const T* q, int64_t radius, int64_t B, int64_t H, int64_t W) {
  const int64_t n = W + 2 * radius;
  T *table = scratch, *weight = table + (radius + 1) * n, *product = weight + n, *sum = product + n;
  for (int64_t b = 0; b < B; ++b) {
    T* out = s + b * H * W;
    std::fill_n(out, H * W, T(0));
    for (int64_t j = -radius; j < H + radius; ++j) {
      const int64_t row = b * H + std::clamp<int64_t>(j, 0, H - 1);
      row_table(table, weight, w + row * W, q + row * W, radius, W);
      for (int64_t k = 0; k <= radius; ++k) {
        const int64_t above = j - k, below = j + k;
        const bool has_above = above >= 0 && above<H, has_below = k> 0 && below >= 0 && below < H;
        if (!has_above && !has_below) continue;
        for (int64_t x = 0; x < n; ++x) product[x] = weight[x] * table[k * n + x];
        sum_row(sum, product, table, radius, W);
        for (const auto& [there, y] : {std::pair{has_above, above}, {has_below, below}})
          for (int64_t x = 0; there && x < W; ++x) out[y * W + x] += sum[x];
      }
    }
  }
}

template <class T>
void variable_smooth_backward_ref(T* dw, T* dq, T* scratch, const T* ds, const T* w, const T* q, T log_weight, int64_t radius, int64_t B,
                                  int64_t H, int64_t W) {
  const int64_t n = W + 2 * radius;
  T *table = scratch, *weight = table + (radius + 1) * n, *by_weight = weight + n, *by_width = by_weight + n, *both = by_width + n;
  for (int64_t i = 0; i < B * H * W; ++i) {
    dw[i] = 0;
    dq[i] = log_weight / q[i];
  }
  for (int64_t b = 0; b < B; ++b) {
    const T* gradient = ds + b * H * W;
    for (int64_t j = -radius; j < H + radius; ++j) {
      const int64_t row = b * H + std::clamp<int64_t>(j, 0, H - 1);
      row_table(table, weight, w + row * W, q + row * W, radius, W);
      std::fill_n(by_weight, n, T(0));
      std::fill_n(by_width, n, T(0));
      for (int64_t k = 0; k <= radius; ++k) {
        const int64_t above = j - k, below = j + k;
        const bool has_above = above >= 0 && above<H, has_below = k> 0 && below >= 0 && below < H;
        if (!has_above && !has_below) continue;
        std::fill_n(both, W + 4 * radius, T(0));  // the two rows' sum, zeros beside them
        for (const auto& [there, y] : {std::pair{has_above, above}, {has_below, below}})
          for (int64_t x = 0; there && x < W; ++x) both[2 * radius + x] += gradient[y * W + x];
        gather_row(by_weight, by_width, both, table, k, radius, W);
      }
      for (int64_t x = 0; x < n; ++x) {
        const int64_t at = row * W + std::clamp<int64_t>(x - radius, 0, W - 1);
        dw[at] += by_weight[x];
        dq[at] += by_width[x] * w[at] / (q[at] * q[at]);
      }
    }
  }
}

#define ACTMATCH_INSTANTIATE(T)                                                                         \
  template void variable_smooth_ref<T>(T*, T*, const T*, const T*, int64_t, int64_t, int64_t, int64_t); \
  template void variable_smooth_backward_ref<T>(T*, T*, T*, const T*, const T*, const T*, T, int64_t, int64_t, int64_t, int64_t);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
