#include "kernels/upsample.h"
#include "tests/kernels/cuda/storage.h"

namespace actmatch::kernels::cuda {
namespace {

TEST_F(CudaTest, Resize) {
  struct Size {
    int64_t planes, h, w, H, W;
  };
  in_each_order([&] {
    for (const auto [planes, h, w, H, W] : and_drawn({Size{1, 1, 1, 1, 1}, Size{2, 1, 3, 7, 5}, Size{3, 5, 7, 23, 14},
                                                      Size{2, 17, 13, 4, 3}, Size{1, 7, 7, 7, 7}, Size{1, 3, 2, 1, 9}},
                                                     [](RandomSizes& r) {
                                                       return Size{r.size(3), r.size(18), r.size(34), r.size(18), r.size(34)};
                                                     })) {
      // What an input's gradient adds up: as many numbers of up to 2 as there are outputs to an input.
      const double least = 2 + 2 * std::sqrt(static_cast<double>(H * W) / static_cast<double>(h * w));
      const auto x = random(planes * h * w), dy = random(planes * H * W), old = random(planes * h * w);
      Device<float> dx(x), ddy(dy), y(dy.size());
      std::vector<double> want(dy.size());
      resize_bilinear_ref(want.data(), wide(x).data(), planes, h, w, H, W);
      check(resize_bilinear(nullptr, y.data(), dx.data(), planes, h, w, H, W));
      expect_near(y.get(), want, 12, "bilinear", 2);  // three interpolations, fractions rounded
      resize_nearest_ref(want.data(), wide(x).data(), planes, h, w, H, W);
      check(resize_nearest(nullptr, y.data(), dx.data(), planes, h, w, H, W));
      expect_near(y.get(), want, 0, "nearest");
      for (const bool accumulate : {false, true}) {
        // Sums of at most a few dozen terms.
        auto gradient = wide(old);
        resize_bilinear_backward_ref(gradient.data(), wide(dy).data(), planes, h, w, H, W, accumulate);
        Device<float> got(old);
        check(resize_bilinear_backward(nullptr, got.data(), ddy.data(), planes, h, w, H, W, accumulate));
        expect_near(got.get(), gradient, 64, "bilinear, backward", least);
        gradient = wide(old);
        resize_nearest_backward_ref(gradient.data(), wide(dy).data(), planes, h, w, H, W, accumulate);
        Device<float> nearest(old);
        check(resize_nearest_backward(nullptr, nearest.data(), ddy.data(), planes, h, w, H, W, accumulate));
        expect_near(nearest.get(), gradient, 64, "nearest, backward", least);
      }
    }
  });
}

// From aligned addresses (16 bytes at a time where C allows it) and from others.
template <class T>
void check_depthwise(const DepthwiseShape& s, const Clip& clip, const std::vector<T>& x, const std::vector<T>& filter,
                     const std::vector<float>& bias, const std::vector<T>& dy, const std::vector<T>& old, bool aligned) {
  const size_t offset = aligned ? 0 : 1;
  std::vector<double> want(dy.size());
  depthwise_ref(want.data(), wide(x).data(), wide(filter).data(), wide(bias).data(), s, clip);
  DeviceAt<T> dx(x, offset), df(filter, offset), ddy(dy, offset), y(dy.size(), offset);
  Device<float> db(bias);
  check(depthwise(nullptr, y.data(), dx.data(), df.data(), db.data(), s, clip));
  expect_stored_near<T>(y.get(), want, 30, "forward", 4);  // ten sums
  // The device's own result says where the clip is open: at a value of about 0 the two might differ.
  const auto saved = wide(y.get());
  for (const bool accumulate : {false, true}) {
    auto gradient = wide(old);
    depthwise_backward_ref(gradient.data(), wide(dy).data(), saved.data(), wide(filter).data(), s, clip, accumulate);
    DeviceAt<T> got(old, offset);
    check(depthwise_backward(nullptr, got.data(), ddy.data(), clip.changes() ? y.data() : nullptr, df.data(), s, clip, accumulate));
    expect_stored_near<T>(got.get(), gradient, 30, "backward", 4);
  }
}

TEST_F(CudaTest, Depthwise) {
  const DepthwiseShape shapes[] = {{1, 1, 1, 1, 1, 1, 1, 1, 1},  {2, 5, 7, 3, 5, 7, 1, 1, 1},  {1, 9, 8, 13, 5, 4, 2, 1, 1},
                                   {2, 6, 6, 16, 3, 3, 2, 0, 0}, {1, 7, 5, 24, 9, 7, 1, 2, 2}, {1, 6, 9, 8, 6, 9, 1, 1, 1},
                                   {2, 7, 11, 8, 4, 6, 2, 1, 1}, {1, 5, 10, 4, 4, 6, 2, 2, 2}, {1, 5, 6, 8, 4, 5, 1, 0, 1}};
  const auto draw = [](RandomSizes& r) {
    DepthwiseShape s{r.size(2), r.size(12), r.size(12), r.size(40, 8), 0, 0, r.integer(1, 2), r.integer(0, 2), r.integer(0, 2)};
    // With the pad behind the image that lets at least one window fit.
    const auto extent = [&](int64_t length, int64_t pad) {
      const int64_t behind = std::max(r.integer(0, 2), 3 - length - pad);
      return (length + pad + behind - 3) / s.stride + 1;
    };
    s.outH = extent(s.H, s.pad_top), s.outW = extent(s.W, s.pad_left);
    return s;
  };
  in_each_order([&] {
    for (const DepthwiseShape& s : and_drawn(shapes, draw)) {
      for (const Clip& clip : {kNoClip, kReluClip, kRelu6Clip}) {
        for (const bool aligned : {false, true}) {
          SCOPED_TRACE("C " + std::to_string(s.C) + ", W " + std::to_string(s.W) + (aligned ? ", aligned" : ""));
          const auto x = random(s.N * s.H * s.W * s.C), filter = random(9 * s.C), bias = random(s.C);
          const auto dy = random(s.N * s.outH * s.outW * s.C), old = random(s.N * s.H * s.W * s.C);
          check_depthwise<float>(s, clip, x, filter, bias, dy, old, aligned);
          using B = bfloat16;
          check_depthwise<B>(s, clip, stored<B>(x), stored<B>(filter), bias, stored<B>(dy), stored<B>(old), aligned);
        }
      }
    }
  });
}

TEST_F(CudaTest, DepthwisePassesNan) {
  const DepthwiseShape s{1, 2, 2, 1, 2, 2, 1, 1, 1};
  DeviceAt<float> x(std::vector<float>{NAN, 1, 1, 1}, 0), filter(std::vector<float>(9, 1.0f), 0), y(4, 0);
  check(depthwise<float>(nullptr, y.data(), x.data(), filter.data(), nullptr, s, kRelu6Clip));
  for (float v : y.get()) EXPECT_TRUE(std::isnan(v));
}

// The reference's gradient is the transpose of its forward pass: <forward(u), v> = <u, backward(v)>.
TEST(DepthwiseReference, BackwardIsTheTranspose) {
  std::mt19937 engine(3);
  std::normal_distribution<double> normal;
  const auto numbers = [&](int64_t n) {
    std::vector<double> v(static_cast<size_t>(n));
    for (double& e : v) e = normal(engine);
    return v;
  };
  for (const DepthwiseShape& s : {DepthwiseShape{2, 5, 7, 3, 5, 7, 1, 1, 1}, DepthwiseShape{1, 9, 8, 4, 5, 4, 2, 1, 1}}) {
    const auto u = numbers(s.N * s.H * s.W * s.C), v = numbers(s.N * s.outH * s.outW * s.C), filter = numbers(9 * s.C);
    std::vector<double> y(v.size()), du(u.size());
    depthwise_ref<double>(y.data(), u.data(), filter.data(), nullptr, s, kNoClip);
    depthwise_backward_ref<double>(du.data(), v.data(), nullptr, filter.data(), s, kNoClip, false);
    double forward = 0, backward = 0;
    for (size_t i = 0; i < y.size(); ++i) forward += y[i] * v[i];
    for (size_t i = 0; i < u.size(); ++i) backward += u[i] * du[i];
    EXPECT_NEAR(forward, backward, 1e-11);  // a few hundred terms of size 1
  }
}

}  // namespace
}  // namespace actmatch::kernels::cuda
