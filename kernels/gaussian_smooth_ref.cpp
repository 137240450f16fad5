#include "kernels/gaussian_smooth.h"

#include <algorithm>
#include <cstdlib>

namespace actmatch::kernels {

template <class T>
void gaussian_smooth_ref(T* map, T* scratch, const SmoothTable<T>& table, const uint32_t* step, int64_t B, int64_t H, int64_t W) {
  const int64_t row = std::min(static_cast<int64_t>(*step), table.rows) - 1, radius = table.radius[row];
  if (radius < 0) return;
  const T* taps = table.taps + row * table.stride;
  for (int64_t y = 0; y < B * H; ++y) {  // columns first: whole rows are added, which vectorises
    T* to = scratch + y * W;
    std::fill_n(to, W, T(0));
    for (int64_t d = -radius; d <= radius; ++d) {
      if (y % H + d < 0 || y % H + d >= H) continue;
      const T t = taps[std::abs(d)];
      const T* from = map + (y + d) * W;
      for (int64_t x = 0; x < W; ++x) to[x] += t * from[x];
    }
  }
  for (int64_t y = 0; y < B * H; ++y) {
    const T* from = scratch + y * W;
    T* to = map + y * W;
    std::fill_n(to, W, T(0));
    for (int64_t d = -radius; d <= radius; ++d) {
      const T t = taps[std::abs(d)];
      const int64_t first = std::max<int64_t>(0, -d), last = std::min(W, W - d);
      for (int64_t x = first; x < last; ++x) to[x] += t * from[x + d];
    }
  }
}

template void gaussian_smooth_ref<float>(float*, float*, const SmoothTable<float>&, const uint32_t*, int64_t, int64_t, int64_t);
template void gaussian_smooth_ref<double>(double*, double*, const SmoothTable<double>&, const uint32_t*, int64_t, int64_t, int64_t);

}  // namespace actmatch::kernels
