#include "kernels/pyramid.h"

#include <algorithm>

namespace actmatch::kernels {

template <class T>
void pyramid_compose_ref(T* out, const T* m, const T* levels, int64_t L, int64_t B, int64_t C, int64_t HW) {
  for (int64_t b = 0; b < B; ++b)
    for (int64_t i = 0; i < HW; ++i) {
      const T v = std::clamp(m[b * HW + i], T(0), T(1)) * static_cast<T>(L - 1);
      const int64_t l = std::min(static_cast<int64_t>(v), L - 2);
      for (int64_t c = 0; c < C; ++c) {
        const T low = levels[(l * C + c) * HW + i], high = levels[((l + 1) * C + c) * HW + i];
        out[(b * C + c) * HW + i] = low + (v - static_cast<T>(l)) * (high - low);
      }
    }
}

template <class T>
void pyramid_compose_backward_ref(T* dm, const T* dout, const T* m, const T* levels, int64_t L, int64_t B, int64_t C, int64_t HW,
                                  bool accumulate) {
  for (int64_t b = 0; b < B; ++b)
    for (int64_t i = 0; i < HW; ++i) {
      const T v = std::clamp(m[b * HW + i], T(0), T(1)) * static_cast<T>(L - 1);
      const int64_t l = std::min(static_cast<int64_t>(v), L - 2);
      T sum = 0;
      for (int64_t c = 0; c < C; ++c)
        sum += dout[(b * C + c) * HW + i] * (levels[((l + 1) * C + c) * HW + i] - levels[(l * C + c) * HW + i]);
      const T g = static_cast<T>(L - 1) * sum;
      dm[b * HW + i] = accumulate ? dm[b * HW + i] + g : g;
    }
}

#define ACTMATCH_INSTANTIATE(T)                                                                     \
  template void pyramid_compose_ref<T>(T*, const T*, const T*, int64_t, int64_t, int64_t, int64_t); \
  template void pyramid_compose_backward_ref<T>(T*, const T*, const T*, const T*, int64_t, int64_t, int64_t, int64_t, bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
