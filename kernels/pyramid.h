// A picture that a mask takes from blurred to sharp: level L - 1 of the pyramid where m = 1, level 0 where m = 0, between two levels
// linearly.
//
//   v = m (L - 1), l = min(floor(v), L - 2),  out = y_l + (v - l) (y_{l+1} - y_l),   m clipped to 0..1
//   dm = (L - 1) sum over c of dout (y_{l+1} - y_l)                                  (also where m was clipped)
//
// Bound by memory traffic.
#pragma once

#include <cstdint>

namespace actmatch::kernels {

// out [B, C, HW]; m [B, HW]; levels [L, C, HW], L >= 2, the same for all.
template <class T>
void pyramid_compose_ref(T* out, const T* m, const T* levels, int64_t L, int64_t B, int64_t C, int64_t HW);
// dm [B, HW] = (or +=).
template <class T>
void pyramid_compose_backward_ref(T* dm, const T* dout, const T* m, const T* levels, int64_t L, int64_t B, int64_t C, int64_t HW,
                                  bool accumulate);

}  // namespace actmatch::kernels
