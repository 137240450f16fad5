#include "kernels/regulariser.h"

#include <algorithm>
#include <cmath>

#include "kernels/mask.h"
#include "kernels/top_select.h"
#include "kernels/vector_math.h"

namespace actmatch::kernels {
namespace {

template <class T>
T sign(T d) {
  return static_cast<T>(d > T(0)) - static_cast<T>(d < T(0));
}

// Differences b[i] - a[i] of n pairs: returns the sum of their sizes and adds their subgradient, times scale, to da and db.
// Two sweeps, because da and db may overlap (horizontal neighbours), and sweeps that write one row vectorise.
template <class T>
double add_pairs(T* da, T* db, const T* a, const T* b, int64_t n, T scale) {
  if (da) {
    for (int64_t i = 0; i < n; ++i) da[i] -= scale * sign(b[i] - a[i]);
    for (int64_t i = 0; i < n; ++i) db[i] += scale * sign(b[i] - a[i]);
  }
  return sum_of<T>(n, [&](int64_t i) { return std::abs(b[i] - a[i]); });
}

struct Direction {
  int64_t rows, columns;  // from a pixel to its neighbour; rows is 0 or 1
  double weight;
};
constexpr Direction kDirections[] = {{0, 1, 1.0}, {1, 0, 1.0}, {1, 1, 0.70710678118654752}, {1, -1, 0.70710678118654752}};

}  // namespace

template <class T>
void mask_regulariser_ref(T* value, T* dm, const T* m, const T* weight, int neighbours, int64_t B, int64_t H, int64_t W, bool accumulate) {
  const int64_t HW = H * W;
  const int directions = neighbours == 8 ? 4 : 2;
  for (int64_t b = 0; b < B; ++b, m += HW, value += kRegulariserTerms, weight += kRegulariserTerms) {
    const double count = static_cast<double>(HW);
    value[0] = static_cast<T>(sum_of<T>(HW, [&](int64_t i) { return m[i]; }) / count);
    value[1] = static_cast<T>(sum_of<T>(HW, [&](int64_t i) { return m[i] * (T(1) - m[i]); }) / count);
    T* g = dm ? dm + b * HW : nullptr;
    if (g) {
      const T flat = (weight[0] + weight[1]) / static_cast<T>(HW), slope = T(-2) * weight[1] / static_cast<T>(HW);
      if (accumulate) {
        for (int64_t i = 0; i < HW; ++i) g[i] += flat + slope * m[i];
      } else {
        for (int64_t i = 0; i < HW; ++i) g[i] = flat + slope * m[i];
      }
    }
    double variation = 0;
    for (int d = 0; d < directions; ++d) {
      const Direction& direction = kDirections[d];
      const int64_t rows = H - direction.rows, columns = W - std::abs(direction.columns);
      if (rows <= 0 || columns <= 0) continue;
      const double scale = direction.weight / (static_cast<double>(rows) * static_cast<double>(columns));
      const int64_t first = direction.columns < 0 ? -direction.columns : 0;
      const int64_t step = direction.rows * W + direction.columns;
      double sum = 0;
      for (int64_t y = 0; y < rows; ++y) {
        const int64_t a = y * W + first;
        sum += add_pairs(g ? g + a : nullptr, g ? g + a + step : nullptr, m + a, m + a + step, columns,
                         static_cast<T>(scale * static_cast<double>(weight[2])));
      }
      variation += scale * sum;
    }
    value[2] = static_cast<T>(variation);
  }
}

template <class T>
void sorted_area_ref(T* value, T* dm, const T* m, const T* area, const T* weight, int64_t B, int64_t HW, bool accumulate) {
  for (int64_t b = 0; b < B; ++b, m += HW) {
    const int64_t k = top_count(static_cast<double>(area[b]), HW);
    TopSelection<T> selection{~OrderKey<T>{0}, 0};  // nothing inside
    if (k > 0) selection = select_top(m, HW, k);
    T* g = dm ? dm + b * HW : nullptr;
    const T scale = T(2) * weight[b] / static_cast<T>(HW);
    double sum = 0;
    visit_top(m, HW, selection, [&](int64_t i, bool inside) {
      const T d = m[i] - static_cast<T>(inside);
      sum += static_cast<double>(d) * static_cast<double>(d);
      if (g) g[i] = accumulate ? g[i] + scale * d : scale * d;
    });
    value[b] = static_cast<T>(sum / static_cast<double>(HW));
  }
}

#define ACTMATCH_INSTANTIATE(T)                                                                            \
  template void mask_regulariser_ref<T>(T*, T*, const T*, const T*, int, int64_t, int64_t, int64_t, bool); \
  template void sorted_area_ref<T>(T*, T*, const T*, const T*, const T*, int64_t, int64_t, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
