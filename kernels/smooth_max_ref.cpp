// Cells are spread over the pixels of a row first, so that the loops with the exponential run along the row and vectorise.
#include "kernels/smooth_max.h"

#include <algorithm>

#include "kernels/vector_math.h"

namespace actmatch::kernels {

template <class T>
void smooth_max_ref(T* M, T* Z, const T* a, const T* table, const SmoothMaxShape& shape, int64_t B) {
  const int64_t H = shape.height, W = shape.width, h = shape.cells_high(), w = shape.cells_wide(), step = shape.step, R = shape.radius,
                n = shape.support();
  const T c = static_cast<T>(shape.coldness);
  T t[kBlock], z[kBlock], sum[kBlock];
  int64_t cell[kBlock], place[kBlock];
  for (int64_t b = 0; b < B; ++b)
    for (int64_t y = 0; y < H; ++y)
      for (int64_t begin = 0; begin < W; begin += kBlock) {
        const int64_t length = std::min(kBlock, W - begin);
        for (int64_t i = 0; i < length; ++i) {
          cell[i] = (begin + i) / step;
          place[i] = (begin + i) % step;
          z[i] = sum[i] = 0;
        }
        for (int64_t v = -R; v <= R; ++v)
          for (int64_t u = -R; u <= R; ++u) {
            const int64_t gy = y / step + v;
            const T* row = table + ((R - v) * step + y % step) * n + (R - u) * step;
            for (int64_t i = 0; i < length; ++i) {
              const int64_t gx = cell[i] + u;
              t[i] = gy >= 0 && gy < h && gx >= 0 && gx < w ? row[place[i]] * a[(b * h + gy) * w + gx] : T(0);
            }
            for (int64_t i = 0; i < length; ++i) {
              const T e = exp_vec(c * (t[i] - 1));
              z[i] += e;
              sum[i] += t[i] * e;
            }
          }
        const int64_t at = (b * H + y) * W + begin;
        for (int64_t i = 0; i < length; ++i) {
          Z[at + i] = z[i];
          M[at + i] = sum[i] / z[i];
        }
      }
}

template <class T>
void smooth_max_backward_ref(T* da, const T* dM, const T* M, const T* Z, const T* a, const T* table, const SmoothMaxShape& shape,
                             int64_t B) {
  const int64_t H = shape.height, W = shape.width, h = shape.cells_high(), w = shape.cells_wide(), step = shape.step, R = shape.radius,
                n = shape.support();
  const T c = static_cast<T>(shape.coldness);
  for (int64_t b = 0; b < B; ++b)
    for (int64_t gy = 0; gy < h; ++gy)
      for (int64_t gx = 0; gx < w; ++gx) {
        const int64_t cell = (b * h + gy) * w + gx, top = (gy - R) * step, left = (gx - R) * step;
        const int64_t first = std::max<int64_t>(0, -left), last = std::min(n, W - left);
        const T value = a[cell];
        double total = 0;
        for (int64_t i = std::max<int64_t>(0, -top); i < std::min(n, H - top); ++i) {
          const T* k = table + i * n;
          const int64_t at = (b * H + top + i) * W + left;
          T sum = 0;
          for (int64_t j = first; j < last; ++j) {
            const T t = k[j] * value;
            sum += dM[at + j] * k[j] * exp_vec(c * (t - 1)) / Z[at + j] * (1 + c * (t - M[at + j]));
          }
          total += static_cast<double>(sum);
        }
        da[cell] = static_cast<T>(total);
      }
}

#define ACTMATCH_INSTANTIATE(T)                                                                \
  template void smooth_max_ref<T>(T*, T*, const T*, const T*, const SmoothMaxShape&, int64_t); \
  template void smooth_max_backward_ref<T>(T*, const T*, const T*, const T*, const T*, const T*, const SmoothMaxShape&, int64_t);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
