#include "kernels/upsample.h"

#include <array>
#include <numeric>

#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

struct Shape {
  int64_t planes, h, w, H, W;
};
const Shape kShapes[] = {{1, 1, 1, 1, 1}, {2, 1, 1, 3, 4},   {1, 4, 5, 1, 1},     {3, 3, 4, 6, 8},    {1, 5, 7, 13, 11},
                         {2, 9, 8, 4, 3}, {1, 2, 3, 5, 600}, {1, 7, 300, 7, 300}, {2, 28, 28, 30, 31}};

// Each output pixel is a sum over all input pixels of a hat function around the clamped source coordinate.
double hat_resize(const double* x, const Shape& s, int64_t Y, int64_t X) {
  const auto source = [](int64_t i, int64_t in, int64_t out) {
    return std::clamp((double(i) + 0.5) * double(in) / double(out) - 0.5, 0.0, double(in - 1));
  };
  const double y = source(Y, s.h, s.H), xx = source(X, s.w, s.W);
  double sum = 0;
  for (int64_t i = 0; i < s.h; ++i)
    for (int64_t j = 0; j < s.w; ++j)
      sum += std::max(0.0, 1 - std::abs(y - double(i))) * std::max(0.0, 1 - std::abs(xx - double(j))) * x[i * s.w + j];
  return sum;
}

TEST(Resize, BilinearIsTheHatFunctionSum) {
  RandomVectors random(50);
  for (const Shape& s : kShapes) {
    const Vec x = random.normal(s.planes * s.h * s.w);
    Vec y(size_t(s.planes * s.H * s.W));
    std::vector<float> y32(y.size());
    resize_bilinear_ref(y.data(), x.data(), s.planes, s.h, s.w, s.H, s.W);
    resize_bilinear_ref(y32.data(), as<float>(x).data(), s.planes, s.h, s.w, s.H, s.W);
    for (int64_t p = 0; p < s.planes; ++p)
      for (int64_t Y = 0; Y < s.H; ++Y)
        for (int64_t X = 0; X < s.W; ++X)  // coordinates up to 300 hold 5e-14
          ASSERT_NEAR(y[size_t((p * s.H + Y) * s.W + X)], hat_resize(&x[size_t(p * s.h * s.w)], s, Y, X), 1e-12);
    expect_close(y32, y, 1e-6, "float bilinear");  // five roundings
  }
}

TEST(Resize, BilinearOfAKnownPicture) {
  // A 2-pixel row widened to 4 by half-pixel centres: 0, 1/4, 3/4, 1 of the way.
  const std::vector<float> x{0, 4};
  std::vector<float> y(4);
  resize_bilinear_ref(y.data(), x.data(), 1, 1, 2, 1, 4);
  EXPECT_EQ(y, (std::vector<float>{0, 1, 3, 4}));
}

TEST(Resize, NearestPicksTheFlooredIndex) {
  RandomVectors random(51);
  for (const Shape& s : kShapes) {
    const Vec x = random.normal(s.planes * s.h * s.w);
    Vec y(size_t(s.planes * s.H * s.W));
    resize_nearest_ref(y.data(), x.data(), s.planes, s.h, s.w, s.H, s.W);
    for (int64_t p = 0; p < s.planes; ++p)
      for (int64_t Y = 0; Y < s.H; ++Y)
        for (int64_t X = 0; X < s.W; ++X) {
          // floor(i * in / out): the largest cell whose start is at or before the pixel's
          int64_t i = 0, j = 0;
          while ((i + 1) * s.H <= Y * s.h) ++i;
          while ((j + 1) * s.W <= X * s.w) ++j;
          ASSERT_EQ(y[size_t((p * s.H + Y) * s.W + X)], x[size_t((p * s.h + i) * s.w + j)]);
        }
  }
}

using Forward = void (*)(double*, const double*, int64_t, int64_t, int64_t, int64_t, int64_t);
using Backward = void (*)(double*, const double*, int64_t, int64_t, int64_t, int64_t, int64_t, bool);

TEST(Resize, BackwardIsTheTranspose) {
  const std::pair<Forward, Backward> kinds[] = {{resize_bilinear_ref<double>, resize_bilinear_backward_ref<double>},
                                                {resize_nearest_ref<double>, resize_nearest_backward_ref<double>}};
  RandomVectors random(52);
  for (const auto& [forward, backward] : kinds) {
    for (const Shape& s : kShapes) {
      const int64_t in = s.planes * s.h * s.w, out = s.planes * s.H * s.W;
      const Vec u = random.normal(out);
      Vec dx(size_t(in), 9.0);
      backward(dx.data(), u.data(), s.planes, s.h, s.w, s.H, s.W, false);
      if (in <= 200) {  // every entry by central differences where that is cheap
        const Vec x = random.normal(in);
        const auto f = [&, fwd = forward](const Vec& at) {
          Vec y(u.size());
          fwd(y.data(), at.data(), s.planes, s.h, s.w, s.H, s.W);
          return std::inner_product(y.begin(), y.end(), u.begin(), 0.0);
        };
        expect_gradient(f, x, dx, "resize");
      }
      for (int probe = 0; probe < 3; ++probe) {
        const Vec x = random.normal(in);
        Vec y(u.size());
        forward(y.data(), x.data(), s.planes, s.h, s.w, s.H, s.W);
        const double left = std::inner_product(y.begin(), y.end(), u.begin(), 0.0);
        EXPECT_NEAR(left, std::inner_product(x.begin(), x.end(), dx.begin(), 0.0), 1e-11);  // two sums of up to 3000 products
      }
      Vec added(dx.size(), 1.0);
      backward(added.data(), u.data(), s.planes, s.h, s.w, s.H, s.W, true);
      for (size_t i = 0; i < dx.size(); ++i) EXPECT_NEAR(added[i], dx[i] + 1, 1e-11);  // the same terms, begun at 1
    }
  }
}

TEST(Resize, FloatTransposeAgreesWithDouble) {
  RandomVectors random(53);
  const Vec u = random.normal(2 * 30 * 31);
  Vec dx(2 * 28 * 28);
  std::vector<float> dx32(dx.size()), near32(dx.size());
  resize_bilinear_backward_ref(dx.data(), u.data(), 2, 28, 28, 30, 31, false);
  resize_bilinear_backward_ref(dx32.data(), as<float>(u).data(), 2, 28, 28, 30, 31, false);
  expect_close(dx32, dx, 1e-6, "bilinear");  // about ten roundings
  resize_nearest_backward_ref(dx.data(), u.data(), 2, 28, 28, 30, 31, false);
  resize_nearest_backward_ref(near32.data(), as<float>(u).data(), 2, 28, 28, 30, 31, false);
  expect_close(near32, dx, 1e-6, "nearest");
}

}  // namespace
}  // namespace actmatch::kernels
