// The exponentials of the CPU's loops against the standard library's in double, and what becomes of infinities and NaN.
#include "engine/backend/cpu/vector_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace actmatch::test {
namespace {

namespace vm = cpu::vector_math;

// Largest error over [low, high], in units of 2^-24 of the true value, or of 1 where `absolute`.
template <class F, class G>
double worst(F ours, G theirs, double low, double high, bool absolute = false) {
  constexpr int kSamples = 200000;
  double result = 0;
  for (int i = 0; i <= kSamples; ++i) {
    const auto x = static_cast<float>(low + (high - low) * i / kSamples);
    const double want = theirs(static_cast<double>(x)), error = std::fabs(static_cast<double>(ours(x)) - want);
    result = std::max(result, error / (absolute ? 1.0 : std::max(std::fabs(want), 1e-37)));
  }
  return result * (1 << 24);
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

TEST(VectorMath, StaysWithinAFewUnitsInTheLastPlace) {
  EXPECT_LT(worst(
                vm::exp, [](double x) { return std::exp(x); }, -86, 88.7),
            3);
  EXPECT_LT(worst(
                vm::expm1_of_negative, [](double x) { return std::expm1(x); }, -30, 0),
            4);
  EXPECT_LT(worst(
                vm::expm1_of_negative, [](double x) { return std::expm1(x); }, -1e-3, -1e-6),
            4);
  EXPECT_LT(worst(vm::sigmoid, logistic, -80, 30), 5);
  EXPECT_LT(worst(
                vm::tanh, [](double x) { return std::tanh(x); }, -10, 10),
            5);
  EXPECT_LT(worst(
                vm::tanh, [](double x) { return std::tanh(x); }, 1e-6, 1e-3),
            3);
  EXPECT_LT(worst(
                vm::erf, [](double x) { return std::erf(x); }, -5, 5),
            4);
  EXPECT_LT(worst(
                vm::erf, [](double x) { return std::erf(x); }, 1e-6, 1e-3),
            3);
  EXPECT_LT(worst(
                vm::log_of_normal, [](double x) { return std::log(x); }, 0.01, 0.9),
            4);
  EXPECT_LT(worst(
                vm::log_of_normal, [](double x) { return std::log(x); }, 0.9, 1.1, true),
            1);
  EXPECT_LT(worst(
                vm::log_of_normal, [](double x) { return std::log(x); }, 1.1, 1e30),
            4);
  EXPECT_LT(worst(
                vm::softplus, [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }, -80, 80),
            5);
}

TEST(VectorMath, EndsAsTheStandardLibraryDoes) {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(vm::exp(inf), inf);
  EXPECT_EQ(vm::exp(90.0f), inf);
  EXPECT_EQ(vm::exp(-inf), 0.0f);
  EXPECT_EQ(vm::exp(0.0f), 1.0f);
  EXPECT_EQ(vm::exp(-100.0f), std::exp(-100.0f));  // below the smallest normal number
  EXPECT_EQ(vm::sigmoid(inf), 1.0f);
  EXPECT_EQ(vm::sigmoid(-inf), 0.0f);
  EXPECT_EQ(vm::tanh(inf), 1.0f);
  EXPECT_EQ(vm::tanh(-inf), -1.0f);
  EXPECT_EQ(vm::erf(inf), 1.0f);
  EXPECT_EQ(vm::erf(-inf), -1.0f);
  EXPECT_EQ(vm::softplus(inf), inf);
  EXPECT_EQ(vm::softplus(-inf), 0.0f);
  EXPECT_EQ(vm::expm1_of_negative(-inf), -1.0f);
  for (auto* f : {&vm::exp, &vm::sigmoid, &vm::tanh, &vm::erf, &vm::softplus}) EXPECT_TRUE(std::isnan(f(nan)));
  EXPECT_EQ(vm::erf(0.0f), 0.0f);
}

}  // namespace
}  // namespace actmatch::test
