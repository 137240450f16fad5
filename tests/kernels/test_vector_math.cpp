#include "kernels/vector_math.h"

#include <limits>

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

TEST(VectorMath, FloatExponentialFollowsTheExactOne) {
  for (int i = -8600; i <= 8600; ++i) {
    const float x = static_cast<float>(i) * 0.01f;
    const double exact = std::exp(static_cast<double>(x));
    // The polynomial and its arithmetic give 2e-7; x / ln 2 adds its own rounding (6e-8) and that of 1 / ln 2 (2e-8), both times |x|.
    EXPECT_NEAR(exp_vec(x) / exact, 1.0, 2.5e-7 + 1e-7 * std::abs(x)) << x;
  }
}

TEST(VectorMath, FloatExponentialAtItsEnds) {
  EXPECT_EQ(exp_vec(0.0f), 1.0f);
  EXPECT_GT(exp_vec(-1e30f), 0.0f);
  EXPECT_EQ(exp_vec(-std::numeric_limits<float>::infinity()), exp_vec(-87.0f));
  EXPECT_TRUE(std::isfinite(exp_vec(std::numeric_limits<float>::infinity())));
  EXPECT_TRUE(std::isnan(exp_vec(std::numeric_limits<float>::quiet_NaN())));
}

TEST(VectorMath, SumAndMaximumOfRowsOfEveryLength) {
  RandomVectors random(1);
  for (int64_t n : {1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 1000}) {
    const std::vector<float> x = as<float>(random.normal(n));
    double sum = 0;
    float top = x[0];
    for (float v : x) sum += v, top = std::max(top, v);
    EXPECT_EQ(max_of(x.data(), n), top);
    // At most 256 float additions of numbers about 1 before each step into double: 256 * 6e-8 * partial sums of about 16, in practice far
    // less.
    EXPECT_NEAR(sum_of<float>(n, [&](int64_t i) { return x[static_cast<size_t>(i)]; }), sum, 2e-5) << n;
  }
}

TEST(VectorMath, SumKeepsPrecisionOverLongRows) {
  // A running float sum of ten million tenths is off by 8 %; chunks with double totals are not.
  // Within a chunk the rounding of equal terms may all go one way: at most 256 half ulps of the chunk's sum, 128 * 6e-8 on average.
  EXPECT_NEAR(sum_of<float>(10'000'000, [](int64_t) { return 0.1f; }) / 1e6, 1.0, 8e-6);
}

}  // namespace
}  // namespace actmatch::kernels
