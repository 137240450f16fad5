#include "kernels/random_background.h"

#include <fstream>

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

BackgroundSpec imagenet(int64_t height, int64_t width, uint64_t seed) {
  BackgroundSpec spec;
  spec.height = height, spec.width = width, spec.seed = seed;
  return spec;
}

template <class T>
std::vector<T> draw(const BackgroundSpec& spec, RandomStream stream, uint32_t image, uint32_t first, int64_t count) {
  std::vector<T> out(size_t(count * spec.channels * spec.height * spec.width));
  random_background_ref(out.data(), spec, stream, image, first, count);
  return out;
}

TEST(RandomBackground, AgreesWithTheNumpyDefinition) {
  std::ifstream file(ACTMATCH_SOURCE_DIR "/tests/kernels/philox_backgrounds.txt");
  ASSERT_TRUE(file) << "philox_backgrounds.txt is missing; philox_backgrounds.py writes it";
  const std::vector<float> got = draw<float>(imagenet(6, 5, 0x0123456789ABCDEFu), RandomStream::kCertify, 7, 0, 9);
  for (size_t i = 0; i < got.size(); ++i) {
    double expected;
    ASSERT_TRUE(file >> expected);
    // Pixel units: float holds numbers up to 400 to 2e-5, the file five decimals.
    ASSERT_NEAR(got[i], expected, 1e-4) << "background " << i / 90 << ", value " << i % 90;
  }
  double more;
  EXPECT_FALSE(file >> more);
}

TEST(RandomBackground, WhiteNoiseIsLibmsToTheLastDigits) {
  // The kernel's own logarithm and sines, as compiled there, against the plain formula.
  const BackgroundSpec spec = imagenet(37, 41, 5);
  const Vec got = draw<double>(spec, RandomStream::kOptimise, 1, 2, 1);
  const NormalBlock u = normal_block(random_block(5, RandomStream::kOptimise, 0, 1, 2, 0));
  for (size_t i = 0; i < got.size(); ++i) {
    const NormalBlock v = normal_block(random_block(5, RandomStream::kOptimise, 2, 1, 2, uint32_t(i / 4)));
    const size_t c = i / (37 * 41);
    const double expected = spec.mu[c] + 0.5 * spec.sigma[c] * (u.value[c] + v.value[i % 4]);
    ASSERT_NEAR(got[i], expected, 2e-12) << i;  // 2e-14 of the normal number, times sigma = 58
  }
}

TEST(RandomBackground, AnyRangeOfDrawsIsTheSameNumbers) {
  const BackgroundSpec spec = imagenet(9, 300, 3);  // wider than one block of columns
  const auto all = draw<float>(spec, RandomStream::kPrune, 2, 0, 12);
  const size_t size = 3 * 9 * 300;
  for (uint32_t k = 0; k < 12; ++k) {
    const auto one = draw<float>(spec, RandomStream::kPrune, 2, k, 1);
    EXPECT_TRUE(std::equal(one.begin(), one.end(), all.begin() + long(k * size))) << k;
  }
  EXPECT_NE(draw<float>(spec, RandomStream::kPrune, 3, 0, 1), draw<float>(spec, RandomStream::kPrune, 2, 0, 1));
  EXPECT_NE(draw<float>(spec, RandomStream::kOptimise, 2, 0, 1), draw<float>(spec, RandomStream::kPrune, 2, 0, 1));
}

TEST(RandomBackground, NetworkUnitsAreScaleAndOffset) {
  const BackgroundSpec pixels = imagenet(7, 11, 8);
  BackgroundSpec network = pixels;
  for (int c = 0; c < 3; ++c) network.scale[c] = 0.01 * (c + 1), network.offset[c] = -2.0 + c;
  const Vec a = draw<double>(pixels, RandomStream::kOptimise, 0, 0, 9), b = draw<double>(network, RandomStream::kOptimise, 0, 0, 9);
  const auto b32 = draw<float>(network, RandomStream::kOptimise, 0, 0, 9);
  for (size_t i = 0; i < a.size(); ++i) {
    const size_t c = i / 77 % 3;
    ASSERT_NEAR(b[i], a[i] * network.scale[c] + network.offset[c], 1e-12);  // roundings of numbers up to 400
    ASSERT_EQ(b32[i], static_cast<float>(b[i]));
  }
}

TEST(RandomBackground, KindsHaveTheirStructure) {
  const BackgroundSpec spec = imagenet(64, 64, 9);
  const Vec out = draw<double>(spec, RandomStream::kOptimise, 0, 0, 9);
  for (size_t k = 0; k < 9; ++k) {
    const double* p = &out[k * 3 * 4096];
    double rough = 0, spread = 0;
    for (size_t i = 0; i + 1 < 64; ++i)
      rough = std::max(rough, std::abs(p[i + 1] - p[i])), spread = std::max(spread, std::abs(p[i] - p[0]));
    if (k % 3 == 0) {
      EXPECT_EQ(spread, 0) << k;
    }
    if (k % 3 == 1) {
      // A cubic through cells of sigma = 58 that are 64/n pixels wide: steps grow with n, in proportion to the slope between cells.
      const double n = double(size_t{4} << (k / 3)), slope = 58.4 * 6 * 1.5 * n / 64;  // cells at most six sigma apart, overshoot 1.5
      EXPECT_LT(rough, slope) << k;
      EXPECT_GT(spread, 10) << k;
    }
    if (k % 3 == 2) {
      EXPECT_GT(rough, 58) << k;  // of 63 differences with sigma 41 one exceeds 58
    }
  }
}

TEST(RandomBackground, MeanAndSpreadAreThoseOfTheDefinition) {
  // Over many draws, by kind and channel: mean mu; variance sigma^2 (1, 1/4 + the interpolation's own, 1/4 + 1/4).
  const BackgroundSpec spec = imagenet(4, 4, 10);  // 4x4 output of the 4x4 grid: the bicubic is the identity, its variance sigma^2
  const int64_t draws = 9000, size = 3 * 16;
  const Vec out = draw<double>(spec, RandomStream::kOptimise, 0, 0, draws);
  for (int64_t kind = 0; kind < 3; ++kind) {
    for (int64_t c = 0; c < 3; ++c) {
      double sum = 0, squares = 0;
      int64_t n = 0;
      for (int64_t k = kind; k < draws; k += 3) {
        if (kind == 1 && (k / 3) % 3 != 0) continue;  // the larger grids are sampled at coarser points
        const double v = (out[size_t(k * size + c * 16 + 5)] - spec.mu[c]) / spec.sigma[c];
        sum += v, squares += v * v, ++n;
      }
      const double variance = kind == 0 ? 1 : (kind == 1 ? 1.25 : 0.5), error = 5 / std::sqrt(double(n));  // five standard errors
      EXPECT_NEAR(sum / double(n), 0, error * std::sqrt(variance)) << kind;
      EXPECT_NEAR(squares / double(n), variance, error * variance * std::sqrt(2.0)) << kind;
    }
  }
}

TEST(RandomBackground, OneToFourChannelsAndTinyPictures) {
  for (int64_t channels = 1; channels <= 4; ++channels) {
    BackgroundSpec spec = imagenet(1, 1, 11);
    spec.channels = channels;
    spec.sigma[3] = 1;
    for (double v : draw<double>(spec, RandomStream::kOptimise, 0, 0, 9)) EXPECT_TRUE(std::isfinite(v));
  }
  // The first channels of a background do not depend on how many follow, where each channel has its own block of numbers.
  BackgroundSpec one = imagenet(8, 8, 12), three = one;
  one.channels = 1;
  for (uint32_t k = 0; k < 9; ++k) {
    const auto a = draw<float>(one, RandomStream::kOptimise, 0, k, 1), b = draw<float>(three, RandomStream::kOptimise, 0, k, 1);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin()));
  }
}

}  // namespace
}  // namespace actmatch::kernels
