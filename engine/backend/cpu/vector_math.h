// Exponentials and their kin for loops over floats: plain arithmetic without branches or calls, which the compiler turns into vector code
// in whatever function they are inlined into. Errors are a few units in the last place (tests/ops/cpu/test_vector_math.cpp); infinities and
// NaN come out as from the standard library. The coefficients are least-maximum fits made for these intervals.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/vectorise.h"

namespace actmatch::cpu {

namespace vector_math {

// The whole number nearest to x (|x| < 2^22) in the low bits: adding 1.5 * 2^23 leaves no room for a fraction.
inline constexpr float kRound = 12582912.0f;

// e^x = 2^n (1 + q)
struct SplitExp {
  int32_t n;
  float q;
};
ACTMATCH_INLINE SplitExp split_exp(float x) {
  const float shifted = x * 1.44269504f + kRound, n = shifted - kRound;
  const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;  // ln 2 in two parts, the first of few bits
  float p = 0.00139504764f;
  p = p * r + 0.00836888235f;
  p = p * r + 0.041666206f;
  p = p * r + 0.166665182f;
  p = p * r + 0.5f;
  return {std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound), p * (r * r) + r};
}
ACTMATCH_INLINE float power_of_two(int32_t n) { return std::bit_cast<float>((n + 127) << 23); }  // -127 < n < 128

// Beyond these the result is 0 or infinity, in two factors since one would not hold the exponent.
ACTMATCH_INLINE float exp(float x) {
  const float low = x < -104.0f ? -104.0f : x, in = low > 89.0f ? 89.0f : low;
  const SplitExp s = split_exp(in);
  const int32_t half = s.n >> 1;
  return (s.q + 1.0f) * power_of_two(half) * power_of_two(s.n - half);
}

// e^x - 1 for x <= 0
ACTMATCH_INLINE float expm1_of_negative(float x) {
  const float in = x < -80.0f ? -80.0f : x;
  const SplitExp s = split_exp(in);
  const float scale = power_of_two(s.n);
  return s.q * scale + (scale - 1.0f);
}

ACTMATCH_INLINE float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }

ACTMATCH_INLINE float magnitude(float x) { return std::bit_cast<float>(std::bit_cast<int32_t>(x) & 0x7fffffff); }
ACTMATCH_INLINE float with_sign_of(float positive, float x) {
  return std::bit_cast<float>(std::bit_cast<int32_t>(positive) | (std::bit_cast<int32_t>(x) & INT32_MIN));
}

ACTMATCH_INLINE float tanh(float x) {
  const float a = magnitude(x), u = x * x;
  float p = -0.00571703678f;
  p = p * u + 0.0206505787f;
  p = p * u - 0.0537434965f;
  p = p * u + 0.133314908f;
  p = p * u - 0.333332837f;
  const float small = p * (u * x) + x;
  const float large = with_sign_of(1.0f - 2.0f / (exp(2.0f * a) + 1.0f), x);
  return a < 0.625f ? small : large;
}

ACTMATCH_INLINE float erf(float x) {
  const float a = magnitude(x), u = x * x;
  float p = 7.88911930e-5f;
  p = p * u - 0.000802084105f;
  p = p * u + 0.00518953521f;
  p = p * u - 0.0268544443f;
  p = p * u + 0.112836003f;
  p = p * u - 0.37612626f;
  p = p * u + 1.12837911f;
  const float t = a > 4.0f ? 4.0f : a;  // erf(4) is 1 in fp32
  float q = -2.16868502e-5f;            // the logarithm of 1 - erf
  q = q * t + 0.000441336364f;
  q = q * t - 0.00420456193f;
  q = q * t + 0.0252082571f;
  q = q * t - 0.108418576f;
  q = q * t - 0.633219898f;
  q = q * t - 1.12957847f;
  q = q * t + 0.000188040227f;
  const SplitExp s = split_exp(q);
  const float large = 1.0f - (s.q + 1.0f) * power_of_two(s.n);
  const float y = a < 1.0f ? p * x : with_sign_of(large, x);
  return x == x ? y : x;
}

// Of positive normal numbers.
ACTMATCH_INLINE float log_of_normal(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x);
  const int32_t n = (bits - 0x3f3504f3) >> 23;  // the mantissa lies between sqrt(1/2) and sqrt(2)
  const float f = std::bit_cast<float>(bits - (n << 23)) - 1.0f;
  float p = -0.0785954595f;
  p = p * f + 0.128816217f;
  p = p * f - 0.131287679f;
  p = p * f + 0.141811967f;
  p = p * f - 0.166245535f;
  p = p * f + 0.200022861f;
  p = p * f - 0.250008106f;
  p = p * f + 0.333333164f;
  const auto e = static_cast<float>(n);
  const float u = f * f;
  return e * 0.693145752f + (f + ((p * (f * u) + e * 1.42860677e-6f) - 0.5f * u));
}
// log(1 + x) for 0 <= x <= 1
ACTMATCH_INLINE float log1p_of_fraction(float x) {
  const float v = 1.0f + x, lost = x - (v - 1.0f);
  return log_of_normal(v) + lost / v;
}

ACTMATCH_INLINE float softplus(float x) { return (x > 0.0f ? x : 0.0f) + (x == x ? log1p_of_fraction(exp(-magnitude(x))) : x); }

}  // namespace vector_math

}  // namespace actmatch::cpu
