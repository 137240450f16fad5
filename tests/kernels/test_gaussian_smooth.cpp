#include "kernels/gaussian_smooth.h"

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

Vec smooth(Vec map, const Vec& taps, const std::vector<int32_t>& radius, uint32_t step, int64_t B, int64_t H, int64_t W) {
  const auto rows = static_cast<int64_t>(radius.size());
  Vec scratch(map.size(), NAN);
  gaussian_smooth_ref(map.data(), scratch.data(), {taps.data(), radius.data(), rows, static_cast<int64_t>(taps.size()) / rows}, &step, B, H,
                      W);
  return map;
}

TEST(GaussianSmooth, ByHand) {
  const Vec taps{0.5, 0.25};
  EXPECT_EQ(smooth({0, 0, 0, 0, 16, 0, 0, 0, 0}, taps, {1}, 1, 1, 3, 3), (Vec{1, 2, 1, 2, 4, 2, 1, 2, 1}));
  EXPECT_EQ(smooth({8, 0, 0}, taps, {1}, 1, 1, 1, 3), (Vec{2, 1, 0})) << "outside counts as 0 in both directions";
  EXPECT_EQ(smooth({8, 0, 0}, taps, {1}, 1, 1, 3, 1), (Vec{2, 1, 0}));
  EXPECT_EQ(smooth({4}, {0.25, 9, 9, 9}, {3}, 1, 1, 1, 1), (Vec{0.25})) << "wider than the map";
}

TEST(GaussianSmooth, TheStepChoosesTheRow) {
  const Vec taps{0.5, 0.25, 7, 7, 1, 0.5}, map{0, 4, 0};
  const std::vector<int32_t> radius{1, -1, 1};
  EXPECT_EQ(smooth(map, taps, radius, 1, 1, 1, 3), (Vec{0.5, 1, 0.5}));
  EXPECT_EQ(smooth(map, taps, radius, 2, 1, 1, 3), map) << "nothing happens";
  EXPECT_EQ(smooth(map, taps, radius, 3, 1, 1, 3), (Vec{2, 4, 2}));
  EXPECT_EQ(smooth(map, taps, radius, 99, 1, 1, 3), (Vec{2, 4, 2})) << "the last row serves the steps behind it";
}

TEST(GaussianSmooth, MapsDoNotRunIntoEachOther) {
  RandomVectors random(80);
  const int64_t B = 3, H = 5, W = 7;
  const Vec map = random.normal(B * H * W), taps{0.4, 0.2, 0.1};
  const Vec all = smooth(map, taps, {2}, 1, B, H, W);
  for (int64_t b = 0; b < B; ++b) {
    const Vec one(map.begin() + b * H * W, map.begin() + (b + 1) * H * W);
    EXPECT_EQ(smooth(one, taps, {2}, 1, 1, H, W), Vec(all.begin() + b * H * W, all.begin() + (b + 1) * H * W));
  }
  // The definition, both sums at once.
  for (int64_t y = 0; y < H; ++y)
    for (int64_t x = 0; x < W; ++x) {
      double sum = 0;
      for (int64_t v = std::max<int64_t>(0, y - 2); v <= std::min(H - 1, y + 2); ++v)
        for (int64_t u = std::max<int64_t>(0, x - 2); u <= std::min(W - 1, x + 2); ++u)
          sum +=
              taps[static_cast<size_t>(std::abs(v - y))] * taps[static_cast<size_t>(std::abs(u - x))] * map[static_cast<size_t>(v * W + u)];
      EXPECT_NEAR(all[static_cast<size_t>(y * W + x)], sum, 1e-14);  // 25 terms of size 1
    }
}

}  // namespace
}  // namespace actmatch::kernels
