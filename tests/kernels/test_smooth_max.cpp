#include "kernels/smooth_max.h"

#include "kernels/pyramid.h"
#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

SmoothMaxShape shape_of(int64_t step, int64_t radius, double coldness, int64_t H, int64_t W) {
  SmoothMaxShape shape;
  shape.step = step, shape.radius = radius, shape.coldness = coldness, shape.height = H, shape.width = W;
  return shape;
}

// The definition, with the kernel computed where it is needed.
Vec naive(const Vec& a, const SmoothMaxShape& s, double sigma, int64_t B) {
  Vec out;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t y = 0; y < s.height; ++y)
      for (int64_t x = 0; x < s.width; ++x) {
        double z = 0, sum = 0;
        for (int64_t gy = y / s.step - s.radius; gy <= y / s.step + s.radius; ++gy)
          for (int64_t gx = x / s.step - s.radius; gx <= x / s.step + s.radius; ++gx) {
            double t = 0;
            if (gy >= 0 && gy < s.cells_high() && gx >= 0 && gx < s.cells_wide()) {
              const double half = static_cast<double>(s.step - 1) / 2;
              const double d = std::hypot(static_cast<double>(y - gy * s.step) - half, static_cast<double>(x - gx * s.step) - half);
              t = std::exp(-2 * std::pow(std::max(0.0, d / sigma - 0.5), 2)) *
                  a[static_cast<size_t>((b * s.cells_high() + gy) * s.cells_wide() + gx)];
            }
            z += std::exp(s.coldness * t);
            sum += t * std::exp(s.coldness * t);
          }
        out.push_back(sum / z);
      }
  return out;
}

TEST(SmoothMax, ByHand) {
  // One cell of one pixel, alone in its window of 3 x 3: eight neighbours count as 0.
  const SmoothMaxShape one = shape_of(1, 1, std::log(2.0), 1, 1);
  Vec table(9);
  smooth_max_table(table.data(), one, 1.0);
  EXPECT_EQ(table[4], 1.0);
  EXPECT_NEAR(table[1], std::exp(-2 * 0.25), 1e-15) << "d = 1, sigma = 1";
  Vec a{1}, M(1), Z(1);
  smooth_max_ref(M.data(), Z.data(), a.data(), table.data(), one, 1);
  EXPECT_NEAR(M[0], 2.0 / (2 + 8), 1e-15);
  EXPECT_NEAR(Z[0], (2 + 8) / 2.0, 1e-14);
}

TEST(SmoothMax, IsItsDefinitionAndHasItsGradient) {
  RandomVectors random(93);
  for (const SmoothMaxShape& s :
       {shape_of(1, 1, 20, 1, 1), shape_of(3, 1, 20, 7, 11), shape_of(2, 2, 5, 9, 1), shape_of(7, 4, 20, 10, 300)}) {
    const int64_t B = 2, cells = B * s.cells_high() * s.cells_wide(), pixels = B * s.height * s.width;
    const double sigma = 1.7 * static_cast<double>(s.step);
    Vec table(static_cast<size_t>(s.support() * s.support()));
    smooth_max_table(table.data(), s, sigma);
    const Vec a = random.uniform(cells, 0, 1), dM = random.normal(pixels);
    Vec M(static_cast<size_t>(pixels)), Z = M, da(a.size(), NAN);
    smooth_max_ref(M.data(), Z.data(), a.data(), table.data(), s, B);
    const Vec want = naive(a, s, sigma, B);
    for (size_t i = 0; i < M.size(); ++i) ASSERT_NEAR(M[i], want[i], 1e-13);
    smooth_max_backward_ref(da.data(), dM.data(), M.data(), Z.data(), a.data(), table.data(), s, B);
    if (pixels < 1000)
      expect_gradient(
          [&](const Vec& v) {
            double sum = 0;
            const Vec out = naive(v, s, sigma, B);
            for (size_t i = 0; i < out.size(); ++i) sum += dM[i] * out[i];
            return sum;
          },
          a, da, "grid");
    const auto af = as<float>(a), tf = as<float>(table), df = as<float>(dM);
    std::vector<float> Mf(M.size()), Zf(M.size()), daf(a.size());
    smooth_max_ref(Mf.data(), Zf.data(), af.data(), tf.data(), s, B);
    expect_close(Mf, M, 1e-5, "float");  // an exponential of up to 20 is right to 2e-6
    smooth_max_backward_ref(daf.data(), df.data(), Mf.data(), Zf.data(), af.data(), tf.data(), s, B);
    expect_close(daf, da, 1e-4, "float, gradient");  // 1 + c (t - M) cancels by up to c
  }
}

TEST(Pyramid, ByHand) {
  // Three levels of one pixel and two channels.
  const Vec levels{0, 10, 1, 20, 4, 40};
  Vec out(2), dm(1);
  const auto at = [&](double m) {
    pyramid_compose_ref(out.data(), &m, levels.data(), 3, 1, 2, 1);
    return out;
  };
  EXPECT_EQ(at(0), (Vec{0, 10}));
  EXPECT_EQ(at(0.25), (Vec{0.5, 15}));
  EXPECT_EQ(at(0.75), (Vec{2.5, 30}));
  EXPECT_EQ(at(1), (Vec{4, 40}));
  EXPECT_EQ(at(7), (Vec{4, 40})) << "clipped";
  const Vec dout{1, 0.1};
  const double m = 0.75;
  pyramid_compose_backward_ref(dm.data(), dout.data(), &m, levels.data(), 3, 1, 2, 1, false);
  EXPECT_NEAR(dm[0], 2 * (3 + 2), 1e-14);
  pyramid_compose_backward_ref(dm.data(), dout.data(), &m, levels.data(), 3, 1, 2, 1, true);
  EXPECT_NEAR(dm[0], 20, 1e-14);
}

TEST(Pyramid, GradientAtManyPixels) {
  RandomVectors random(94);
  const int64_t L = 4, B = 3, C = 2, HW = 17;
  const Vec levels = random.normal(L * C * HW), m = random.uniform(B * HW, 0.01, 0.99), dout = random.normal(B * C * HW);
  Vec dm(m.size());
  pyramid_compose_backward_ref(dm.data(), dout.data(), m.data(), levels.data(), L, B, C, HW, false);
  expect_gradient(
      [&](const Vec& v) {
        Vec out(dout.size());
        pyramid_compose_ref(out.data(), v.data(), levels.data(), L, B, C, HW);
        double sum = 0;
        for (size_t i = 0; i < out.size(); ++i) sum += dout[i] * out[i];
        return sum;
      },
      m, dm, "mask");
}

}  // namespace
}  // namespace actmatch::kernels
