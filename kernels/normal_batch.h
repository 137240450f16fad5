// The N(0, 1) numbers of philox.h for many blocks at once, in a form the compiler vectorises: the same formula with polynomial logarithm,
// sine and cosine instead of libm's, equal to about 1e-14. Internal to the *_ref.cpp files.
//
// Integers of 64 bits become doubles through the mantissa of 2^52: SSE2 has no conversion for them. The compiler may reorder sums
// (-fassociative-math), so double_of must only meet sums that are exact in any order.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/philox.h"

namespace actmatch::kernels {

inline constexpr int64_t kNormalBatch = 64;  // blocks

inline double double_of(uint64_t below_2_52) { return std::bit_cast<double>(below_2_52 | 0x4330000000000000u) - 0x1p52; }

// ln u for normal numbers u in (0, 1]: u = 2^e m with m in [sqrt(1/2), sqrt(2)), ln m = 2 atanh(s), s = (m - 1) / (m + 1). |s| < 0.172, so
// nine terms leave s^19 / 19 = 2e-16.
inline double log_vec(double u) {
  constexpr uint64_t kRoot = 0x3FE6A09E667F3BCDu, kBias = uint64_t{1023} << 52;  // bits of sqrt(1/2)
  const uint64_t shifted = std::bit_cast<uint64_t>(u) - kRoot + kBias;
  const double exponent = double_of(shifted >> 52) - 1023.0;
  const double m = std::bit_cast<double>((shifted & 0x000FFFFFFFFFFFFFu) + kRoot);
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 17;
  p = p * z + 1.0 / 15;
  p = p * z + 1.0 / 13;
  p = p * z + 1.0 / 11;
  p = p * z + 1.0 / 9;
  p = p * z + 1.0 / 7;
  p = p * z + 1.0 / 5;
  p = p * z + 1.0 / 3;
  p = p * z + 1.0;
  return exponent * 0.693147180559945309417 + 2.0 * s * p;
}

// Cosine and sine of v turns, v in [0, 1): the nearest quarter turn q, and Taylor series of the rest, at most pi / 4 in size.
inline void cos_sin_turns(double v, double* cosine, double* sine) {
  const double quarters = 4.0 * v;
  const auto nearest = static_cast<int32_t>(quarters + 0.5);
  const double a = (quarters - static_cast<double>(nearest)) * 1.57079632679489661923, z = a * a;
  double c = 1.0 / 20922789888000.0;  // 1 / 16!
  c = c * z - 1.0 / 87178291200.0;
  c = c * z + 1.0 / 479001600.0;
  c = c * z - 1.0 / 3628800.0;
  c = c * z + 1.0 / 40320.0;
  c = c * z - 1.0 / 720.0;
  c = c * z + 1.0 / 24.0;
  c = c * z - 0.5;
  c = c * z + 1.0;
  double s = -1.0 / 1307674368000.0;  // 1 / 15!
  s = s * z + 1.0 / 6227020800.0;
  s = s * z - 1.0 / 39916800.0;
  s = s * z + 1.0 / 362880.0;
  s = s * z - 1.0 / 5040.0;
  s = s * z + 1.0 / 120.0;
  s = s * z - 1.0 / 6.0;
  s = a + a * z * s;
  // q = 0: (c, s), 1: (-s, c), 2: (-c, -s), 3: (s, -c), 4 as 0.
  const auto q = static_cast<uint64_t>(nearest);
  const uint64_t swap = uint64_t{0} - (q & 1), cb = std::bit_cast<uint64_t>(c), sb = std::bit_cast<uint64_t>(s);
  *cosine = std::bit_cast<double>(((cb & ~swap) | (sb & swap)) ^ (((q + 1) & 2) << 62));
  *sine = std::bit_cast<double>(((sb & ~swap) | (cb & swap)) ^ ((q & 2) << 62));
}

// out [4 * count]: the numbers of blocks first .. first + count - 1, count <= kNormalBatch.
inline void normal_batch(double* out, uint64_t seed, RandomStream stream, uint32_t field, uint32_t image, uint32_t draw, uint32_t first,
                         int64_t count) {
  uint32_t word[4][kNormalBatch];
  for (int64_t i = 0; i < count; ++i) {
    const PhiloxWords block = random_block(seed, stream, field, image, draw, first + static_cast<uint32_t>(i));
    for (int k = 0; k < 4; ++k) word[k][i] = block.word[k];
  }
  for (int pair = 0; pair < 2; ++pair) {
    double first_number[kNormalBatch], second_number[kNormalBatch];
    for (int64_t i = 0; i < count; ++i) {
      const double u = (double_of(word[2 * pair][i]) + 0.5) * 0x1p-32, v = (double_of(word[2 * pair + 1][i]) + 0.5) * 0x1p-32;
      const double radius = std::sqrt(-2.0 * log_vec(u));
      double cosine, sine;
      cos_sin_turns(v, &cosine, &sine);
      first_number[i] = radius * cosine;
      second_number[i] = radius * sine;
    }
    for (int64_t i = 0; i < count; ++i) {
      out[4 * i + 2 * pair] = first_number[i];
      out[4 * i + 2 * pair + 1] = second_number[i];
    }
  }
}

}  // namespace actmatch::kernels
