// How results are compared. fp32 results are always held against a double reference that started from the same fp32 numbers.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/support/random_arrays.h"

namespace actmatch::test {

struct Tolerance {
  enum class Kind { kExact, kEpsilons, kSquared } kind = Kind::kExact;
  double amount = 0;
};
// Bit for bit: operators that only move numbers.
inline Tolerance exact() { return {Tolerance::Kind::kExact, 0}; }
// |got - want| <= n * 2^-24 * (|want| + 1): n roundings of numbers of about that size.
inline Tolerance epsilons(double n) { return {Tolerance::Kind::kEpsilons, n}; }
// sum (got - want)^2 <= t * sum want^2: long sums, where single elements may cancel. Correct fp32 lands below 1e-12, TF32 near 1e-7.
inline Tolerance squared(double t) { return {Tolerance::Kind::kSquared, t}; }

inline double normalised_squared_error(const Doubles& got, const Doubles& want) {
  double error = 0, norm = 0;
  for (int64_t i = 0; i < want.count(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return error == 0 ? 0 : error / norm;
}

inline ::testing::AssertionResult matches(const Doubles& got, const Doubles& want, Tolerance tolerance) {
  if (got.shape != want.shape)
    return ::testing::AssertionFailure() << "shape " << to_string(got.shape) << ", not " << to_string(want.shape);
  if (tolerance.kind == Tolerance::Kind::kSquared) {
    const double error = normalised_squared_error(got, want);
    if (error <= tolerance.amount) return ::testing::AssertionSuccess();  // false for NaN
    return ::testing::AssertionFailure() << "normalised squared error " << error << " > " << tolerance.amount;
  }
  for (int64_t i = 0; i < want.count(); ++i) {
    const double limit = tolerance.kind == Tolerance::Kind::kExact ? 0 : tolerance.amount * 0x1p-24 * (std::abs(want[i]) + 1);
    if (!(std::abs(got[i] - want[i]) <= limit) && got[i] != want[i])  // infinities may be equal
      return ::testing::AssertionFailure() << "element " << i << " of " << to_string(want.shape) << " is " << got[i] << ", not " << want[i]
                                           << " (off by " << std::abs(got[i] - want[i]) << ", allowed " << limit << ")";
  }
  return ::testing::AssertionSuccess();
}

}  // namespace actmatch::test
