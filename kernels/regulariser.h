// Terms on the soft mask m [B, H, W] alone: value and subgradient.
//
//   area   mean m
//   bin    mean m (1 - m)
//   tv     anisotropic L1 total variation: for each direction the mean of |difference| over that direction's pairs of neighbours, summed
//          over the directions. 4 neighbours: horizontal + vertical. 8 neighbours: the two diagonals too, each times 1/sqrt(2).
//          A direction without pairs (an extent of 1) counts 0. The subgradient of |d| is sign(d), 0 at 0.
//   sorted area   mean (sort(m) - template)^2, both in descending order, template = 1 for the top_count(area, HW) largest and 0 after
//          them (extremal perturbations). Only membership in the top fraction matters, so nothing is sorted; ties go by index.
//
// Bound by memory traffic: m is read once, dm written once.
#pragma once

#include <cstdint>

namespace actmatch::kernels {

inline constexpr int kRegulariserTerms = 3;  // area, bin, tv, in this order

// value [B, 3] unweighted; dm [B, H, W] = (or +=) sum over terms of weight[b, term] * d term / dm. weight [B, 3]; dm may be null.
// neighbours is 4 or 8.
template <class T>
void mask_regulariser_ref(T* value, T* dm, const T* m, const T* weight, int neighbours, int64_t B, int64_t H, int64_t W, bool accumulate);

// value [B] unweighted; dm [B, HW] = (or +=) weight[b] * 2 (m - template) / HW, by rank. area, weight [B]; dm may be null.
template <class T>
void sorted_area_ref(T* value, T* dm, const T* m, const T* area, const T* weight, int64_t B, int64_t HW, bool accumulate);

}  // namespace actmatch::kernels
