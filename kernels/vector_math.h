// Small helpers shared by the CPU kernels: an exponential that the compiler can vectorise, and sums and maxima over contiguous rows with
// a fixed order. Internal to the *_ref.cpp files.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace actmatch::kernels {

// Positions handled together; per-position accumulators of this length live on the stack.
inline constexpr int64_t kBlock = 256;

// e^x to 2.5e-7 + 1e-7 |x| relative: 2^n * 2^f with n = round(x / ln 2) and a degree-6 Chebyshev fit of 2^f on [-1/2, 1/2].
// Free of branches, so loops over it vectorise (libm's expf does not without -ffast-math). Arguments are clamped to [-87, 88]: the result
// is never zero, denormal or infinite. NaN stays NaN. Splitting x / ln 2 into two words would be sharper, but -fassociative-math may undo
// it.
inline float exp_vec(float x) {
  // Both choices take the bound for NaN, as the processor's maximum and minimum do: no undefined conversion below.
  const float above = x > -87.0f ? x : -87.0f;
  const float t = (above < 88.0f ? above : 88.0f) * 1.44269504f;
  const int32_t n = static_cast<int32_t>(t + 128.5f) - 128;
  const float f = t - static_cast<float>(n);
  float p = 1.5461445e-4f;
  p = p * f + 1.3400427e-3f;
  p = p * f + 9.6180569e-3f;
  p = p * f + 5.5503272e-2f;
  p = p * f + 2.4022651e-1f;
  p = p * f + 6.9314718e-1f;
  p = p * f + 1.0f;
  p *= std::bit_cast<float>(static_cast<uint32_t>(n + 127) << 23);
  return x == x ? p : x;
}
inline double exp_vec(double x) { return std::exp(x); }

// Sum of term(i) for i in [0, n): chunks in T, which the compiler vectorises, their totals in double.
template <class T, class Term>
double sum_of(int64_t n, Term term) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(n, begin + kBlock);
    T part = 0;
    for (int64_t i = begin; i < end; ++i) part += term(i);
    total += static_cast<double>(part);
  }
  return total;
}

// Largest of n >= 1 values, NaN ignored (all NaN: NaN). Lanes, because a plain running maximum is not vectorised when NaN counts.
template <class T>
T max_of(const T* x, int64_t n) {
  constexpr int64_t kLanes = 16;
  T best = x[0];
  int64_t i = 0;
  if (n >= kLanes) {
    T lane[kLanes];
    for (int64_t j = 0; j < kLanes; ++j) lane[j] = x[j];
    for (i = kLanes; i + kLanes <= n; i += kLanes)
      for (int64_t j = 0; j < kLanes; ++j) lane[j] = lane[j] > x[i + j] ? lane[j] : x[i + j];
    for (int64_t j = 0; j < kLanes; ++j) best = best > lane[j] ? best : lane[j];
  }
  for (; i < n; ++i) best = best > x[i] ? best : x[i];
  return best;
}

}  // namespace actmatch::kernels
