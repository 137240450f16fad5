#include "kernels/regulariser.h"

#include <array>
#include <functional>

#include "kernels/mask.h"
#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

// mean |difference| over the pairs (y, x), (y + dy, x + dx) that lie in the image.
double mean_difference(const double* m, int64_t H, int64_t W, int64_t dy, int64_t dx) {
  double sum = 0;
  int64_t pairs = 0;
  for (int64_t y = 0; y < H; ++y)
    for (int64_t x = 0; x < W; ++x) {
      if (y + dy < 0 || y + dy >= H || x + dx < 0 || x + dx >= W) continue;
      sum += std::abs(m[(y + dy) * W + x + dx] - m[y * W + x]);
      ++pairs;
    }
  return pairs ? sum / double(pairs) : 0;
}

double naive_tv(const double* m, int64_t H, int64_t W, int neighbours) {
  double tv = mean_difference(m, H, W, 0, 1) + mean_difference(m, H, W, 1, 0);
  if (neighbours == 8) tv += (mean_difference(m, H, W, 1, 1) + mean_difference(m, H, W, 1, -1)) / std::sqrt(2.0);
  return tv;
}

constexpr std::array<std::array<int64_t, 3>, 8> kShapes{
    {{1, 1, 1}, {2, 1, 6}, {1, 7, 1}, {3, 2, 2}, {2, 5, 3}, {1, 9, 14}, {1, 3, 300}, {1, 1, 2}}};

TEST(Regulariser, ValuesAndGradients) {
  for (int neighbours : {4, 8}) {
    RandomVectors random(40);
    for (const auto& [B, H, W] : kShapes) {
      const int64_t HW = H * W;
      const Vec m = random.uniform(B * HW, 0, 1), weight = random.normal(B * 3, 3);
      Vec value(size_t(B * 3)), dm(m.size(), 8.0);
      mask_regulariser_ref(value.data(), dm.data(), m.data(), weight.data(), neighbours, B, H, W, false);
      for (int64_t b = 0; b < B; ++b) {
        double area = 0, bin = 0;
        for (int64_t i = 0; i < HW; ++i) {
          const double v = m[size_t(b * HW + i)];
          area += v / double(HW), bin += v * (1 - v) / double(HW);
        }
        EXPECT_NEAR(value[size_t(b * 3)], area, 1e-13);  // sums of at most 900 numbers below 1
        EXPECT_NEAR(value[size_t(b * 3 + 1)], bin, 1e-13);
        EXPECT_NEAR(value[size_t(b * 3 + 2)], naive_tv(&m[size_t(b * HW)], H, W, neighbours), 1e-13);
      }
      const auto f = [&](const Vec& at) {
        Vec v(value.size());
        mask_regulariser_ref<double>(v.data(), nullptr, at.data(), weight.data(), neighbours, B, H, W, false);
        double sum = 0;
        for (size_t i = 0; i < v.size(); ++i) sum += weight[i] * v[i];
        return sum;
      };
      // Step 1e-7: two of the 900 random values are seldom closer, so no kink is crossed; |f| < 10 leaves 2e-8 of rounding, and the
      // gradient of the largest shape is about 1e-2.
      Vec numeric(m.size());
      for (size_t i = 0; i < m.size(); ++i) {
        Vec up = m, down = m;
        up[i] += 1e-7, down[i] -= 1e-7;
        numeric[i] = (f(up) - f(down)) / 2e-7;
      }
      expect_close(numeric, dm, 5e-6, "regulariser");
      Vec added(m.size(), 1.0);
      mask_regulariser_ref(value.data(), added.data(), m.data(), weight.data(), neighbours, B, H, W, true);
      for (size_t i = 0; i < m.size(); ++i) EXPECT_NEAR(added[i], dm[i] + 1, 1e-13);  // up to ten roundings of numbers up to 10

      std::vector<float> value32(value.size()), dm32(m.size());
      mask_regulariser_ref(value32.data(), dm32.data(), as<float>(m).data(), as<float>(weight).data(), neighbours, B, H, W, false);
      expect_close(value32, value, 1e-6, "float values");  // float input rounding, 6e-8 a term
      expect_close(dm32, dm, 1e-6, "float gradient");
    }
  }
}

TEST(Regulariser, HandComputed) {
  const Vec m{0, 1, 1, 1}, weight{0, 0, 1};  // 2x2 with one corner off
  Vec value(3), dm(4);
  mask_regulariser_ref(value.data(), dm.data(), m.data(), weight.data(), 4, 1, 2, 2, false);
  EXPECT_EQ(value, (Vec{0.75, 0, 1}));  // one of two horizontal pairs and one of two vertical ones
  EXPECT_EQ(dm, (Vec{-1, 0.5, 0.5, 0}));
  mask_regulariser_ref(value.data(), dm.data(), m.data(), weight.data(), 8, 1, 2, 2, false);
  EXPECT_NEAR(value[2], 1 + std::sqrt(0.5), 1e-15);  // the one falling diagonal differs; one rounding
  EXPECT_NEAR(dm[3], std::sqrt(0.5), 1e-15);
  EXPECT_EQ(dm[1], 0.5);
}

TEST(Regulariser, FlatMaskHasNoVariationAndNoPull) {
  const std::vector<float> m(20, 0.3f), weight{0, 0, 5};
  std::vector<float> value(3), dm(20, 1.0f);
  mask_regulariser_ref(value.data(), dm.data(), m.data(), weight.data(), 8, 1, 4, 5, false);
  EXPECT_EQ(value[2], 0);
  for (float g : dm) EXPECT_EQ(g, 0);
}

TEST(SortedArea, IsTheLossOnTheSortedMask) {
  RandomVectors random(41);
  for (int64_t HW : {1, 5, 64, 301}) {
    for (double fraction : {0.0, 0.1, 0.5, 1.0}) {
      const int64_t B = 2;
      const Vec m = random.uniform(B * HW, 0, 1), area(2, fraction), weight{1.5, -0.5};
      Vec value(2), dm(m.size(), 3.0);
      sorted_area_ref(value.data(), dm.data(), m.data(), area.data(), weight.data(), B, HW, false);
      for (int64_t b = 0; b < B; ++b) {
        Vec row(m.begin() + b * HW, m.begin() + (b + 1) * HW);
        std::sort(row.begin(), row.end(), std::greater<>());
        double sum = 0;
        for (int64_t i = 0; i < HW; ++i) {
          const double d = row[size_t(i)] - (i < top_count(fraction, HW) ? 1 : 0);
          sum += d * d / double(HW);
        }
        EXPECT_NEAR(value[size_t(b)], sum, 1e-14);  // reordered sum of numbers below 1
      }
      const auto f = [&](const Vec& at) {
        Vec v(2);
        sorted_area_ref<double>(v.data(), nullptr, at.data(), area.data(), weight.data(), B, HW, false);
        return weight[0] * v[0] + weight[1] * v[1];
      };
      // The loss is quadratic within one order of the pixels, so any step is exact; 1e-6 keeps neighbours in rank apart.
      Vec numeric(m.size());
      for (size_t i = 0; i < m.size(); ++i) {
        Vec up = m, down = m;
        up[i] += 1e-6, down[i] -= 1e-6;
        numeric[i] = (f(up) - f(down)) / 2e-6;
      }
      for (size_t i = 0; i < m.size(); ++i) EXPECT_NEAR(numeric[i], dm[i], 1e-9);  // rounding 2e-16 / 2e-6
      Vec added = dm;
      sorted_area_ref(value.data(), added.data(), m.data(), area.data(), weight.data(), B, HW, true);
      for (size_t i = 0; i < m.size(); ++i) EXPECT_DOUBLE_EQ(added[i], 2 * dm[i]);
      std::vector<float> value32(2), dm32(m.size());
      sorted_area_ref(value32.data(), dm32.data(), as<float>(m).data(), as<float>(area).data(), as<float>(weight).data(), B, HW, false);
      expect_close(value32, value, 1e-6, "float value");  // input rounding
      expect_close(dm32, dm, 1e-6, "float gradient");
    }
  }
}

}  // namespace
}  // namespace actmatch::kernels
