#include "kernels/upsample.h"

#include <algorithm>

#include "kernels/vector_math.h"

namespace actmatch::kernels {
namespace {

// The two source cells of an output cell, and how much of the second.
template <class T>
struct Taps {
  int64_t low, high;
  T fraction;
};

template <class T>
Taps<T> bilinear_taps(int64_t i, int64_t in, int64_t out) {
  const double limit = static_cast<double>(in - 1);
  double source = (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
  source = std::clamp(source, 0.0, limit);
  const auto low = static_cast<int64_t>(source);
  return {low, std::min(low + 1, in - 1), static_cast<T>(source - static_cast<double>(low))};
}

// In whole numbers, so that no quotient such as 3 * (2/3) is rounded below the cell it means.
int64_t nearest_index(int64_t i, int64_t in, int64_t out) { return i * in / out; }

// Blocks of columns share one small table on the stack: table(j) is computed once per column, cell(plane, Y, X, entry) called for all.
template <class Entry, class Table, class Cell>
void for_each_cell(int64_t planes, int64_t H, int64_t W, Table table, Cell cell) {
  Entry entries[kBlock];
  for (int64_t begin = 0; begin < W; begin += kBlock) {
    const int64_t n = std::min(kBlock, W - begin);
    for (int64_t j = 0; j < n; ++j) entries[j] = table(begin + j);
    for (int64_t p = 0; p < planes; ++p)
      for (int64_t Y = 0; Y < H; ++Y) cell(p, Y, begin, n, entries);
  }
}

}  // namespace

template <class T>
void resize_bilinear_ref(T* y, const T* x, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W) {
  for_each_cell<Taps<T>>(
      planes, H, W, [&](int64_t X) { return bilinear_taps<T>(X, w, W); },
      [&](int64_t p, int64_t Y, int64_t begin, int64_t n, const Taps<T>* columns) {
        const Taps<T> row = bilinear_taps<T>(Y, h, H);
        const T* upper = x + (p * h + row.low) * w;
        const T* lower = x + (p * h + row.high) * w;
        T* out = y + (p * H + Y) * W + begin;
        for (int64_t j = 0; j < n; ++j) {
          const Taps<T>& column = columns[j];
          const T top = upper[column.low] + column.fraction * (upper[column.high] - upper[column.low]);
          const T bottom = lower[column.low] + column.fraction * (lower[column.high] - lower[column.low]);
          out[j] = top + row.fraction * (bottom - top);
        }
      });
}

template <class T>
void resize_bilinear_backward_ref(T* dx, const T* dy, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W, bool accumulate) {
  if (!accumulate) std::fill_n(dx, planes * h * w, T(0));
  for_each_cell<Taps<T>>(
      planes, H, W, [&](int64_t X) { return bilinear_taps<T>(X, w, W); },
      [&](int64_t p, int64_t Y, int64_t begin, int64_t n, const Taps<T>* columns) {
        const Taps<T> row = bilinear_taps<T>(Y, h, H);
        T* upper = dx + (p * h + row.low) * w;
        T* lower = dx + (p * h + row.high) * w;
        const T* in = dy + (p * H + Y) * W + begin;
        for (int64_t j = 0; j < n; ++j) {
          const Taps<T>& column = columns[j];
          const T below = in[j] * row.fraction, above = in[j] - below;
          const T above_right = above * column.fraction, below_right = below * column.fraction;
          upper[column.low] += above - above_right;
          upper[column.high] += above_right;
          lower[column.low] += below - below_right;
          lower[column.high] += below_right;
        }
      });
}

template <class T>
void resize_nearest_ref(T* y, const T* x, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W) {
  for_each_cell<int64_t>(
      planes, H, W, [&](int64_t X) { return nearest_index(X, w, W); },
      [&](int64_t p, int64_t Y, int64_t begin, int64_t n, const int64_t* columns) {
        const T* in = x + (p * h + nearest_index(Y, h, H)) * w;
        T* out = y + (p * H + Y) * W + begin;
        for (int64_t j = 0; j < n; ++j) out[j] = in[columns[j]];
      });
}

template <class T>
void resize_nearest_backward_ref(T* dx, const T* dy, int64_t planes, int64_t h, int64_t w, int64_t H, int64_t W, bool accumulate) {
  if (!accumulate) std::fill_n(dx, planes * h * w, T(0));
  for_each_cell<int64_t>(
      planes, H, W, [&](int64_t X) { return nearest_index(X, w, W); },
      [&](int64_t p, int64_t Y, int64_t begin, int64_t n, const int64_t* columns) {
        T* out = dx + (p * h + nearest_index(Y, h, H)) * w;
        const T* in = dy + (p * H + Y) * W + begin;
        for (int64_t j = 0; j < n; ++j) out[columns[j]] += in[j];
      });
}

#define ACTMATCH_INSTANTIATE(T)                                                                                   \
  template void resize_bilinear_ref<T>(T*, const T*, int64_t, int64_t, int64_t, int64_t, int64_t);                \
  template void resize_nearest_ref<T>(T*, const T*, int64_t, int64_t, int64_t, int64_t, int64_t);                 \
  template void resize_bilinear_backward_ref<T>(T*, const T*, int64_t, int64_t, int64_t, int64_t, int64_t, bool); \
  template void resize_nearest_backward_ref<T>(T*, const T*, int64_t, int64_t, int64_t, int64_t, int64_t, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
