// The area controller: what a step's hard mask has shown decides the area of the next one. For each image, in step t = 1, 2, ...:
//
//   kept    on the baseline background top = label and p_label >= least_p; with needed > 0 also top = label on at least `needed` of the
//           step's `robust` random backgrounds
//   best    the smallest non-empty hard mask that was kept so far, the first of equals; only steps with `may_be_best` count
//   area    t < fall_steps: min(fall[t], ceiling)
//           later:          min(area * (kept ? shrink : grow), 1.6 * share of the best mask (1 while there is none), ceiling)
//
// The fall is a table that the host has made; the area stays as it is where the table is null (no schedule). Areas are kept in double and
// handed on in T. Bound by latency: one sweep over the hard mask, another where it is the best.
#pragma once

#include <cstdint>

namespace actmatch::kernels {

// Of one image. The host sets all of it before the first step.
struct AreaState {
  double area = 1.0;        // of the next hard mask, a share of the pixels
  double ceiling = 1.0;     // share of the pixels that a mask may use
  double least_p = 0.0;     // the label counts as held while p_label is at least this
  int64_t best_pixels = 0;  // 0: no mask has been kept yet
};

struct AreaControl {
  double shrink = 1.0, grow = 1.0;
  int64_t fall_steps = 0;   // entries of the table
  int64_t robust = 0;       // random backgrounds a step
  int64_t needed = 0;       // of them; 0: they do not matter
  bool may_be_best = true;  // false while soft masks are composed: then the hard mask has not been seen by the classifier
};

inline constexpr int kOutcomeColumns = 2;  // pixels of the hard mask; 1 where it was kept, else 0

// state, area [B]; best, hard [B, HW]; outcome [B, 2]; top, p_label [(1 + robust) * B], row r*B + b, what class_scores gives for the
// baseline background (r = 0) and the random ones; label [B]; fall [fall_steps] or null; step (one) counts from 1.
template <class T>
void area_control_ref(AreaState* state, T* area, T* best, T* outcome, const T* hard, const int32_t* top, const T* p_label,
                      const int32_t* label, const double* fall, const uint32_t* step, const AreaControl& control, int64_t B, int64_t HW);

}  // namespace actmatch::kernels
