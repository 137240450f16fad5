#include "kernels/area_control.h"

#include <algorithm>

namespace actmatch::kernels {

template <class T>
void area_control_ref(AreaState* state, T* area, T* best, T* outcome, const T* hard, const int32_t* top, const T* p_label,
                      const int32_t* label, const double* fall, const uint32_t* step, const AreaControl& control, int64_t B, int64_t HW) {
  for (int64_t b = 0; b < B; ++b) {
    AreaState& s = state[b];
    const T* mask = hard + b * HW;
    const int64_t pixels = std::count(mask, mask + HW, T(1));
    bool kept = top[b] == label[b] && static_cast<double>(p_label[b]) >= s.least_p;
    int64_t held = 0;
    for (int64_t r = 1; r <= control.robust; ++r) held += top[r * B + b] == label[b];
    kept = kept && held >= control.needed;
    if (kept && control.may_be_best && pixels > 0 && (s.best_pixels == 0 || pixels < s.best_pixels)) {
      s.best_pixels = pixels;
      std::copy_n(mask, HW, best + b * HW);
    }
    outcome[kOutcomeColumns * b] = static_cast<T>(pixels);
    outcome[kOutcomeColumns * b + 1] = kept ? T(1) : T(0);
    if (!fall) continue;
    if (*step < control.fall_steps) {
      s.area = std::min(fall[*step], s.ceiling);
    } else {
      const double best_area = s.best_pixels == 0 ? 1.0 : static_cast<double>(s.best_pixels) / static_cast<double>(HW);
      s.area = std::min({s.area * (kept ? control.shrink : control.grow), 1.6 * best_area, s.ceiling});
    }
    area[b] = static_cast<T>(s.area);
  }
}

#define ACTMATCH_INSTANTIATE(T)                                                                                                \
  template void area_control_ref<T>(AreaState*, T*, T*, T*, const T*, const int32_t*, const T*, const int32_t*, const double*, \
                                    const uint32_t*, const AreaControl&, int64_t, int64_t);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
