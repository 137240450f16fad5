#include "kernels/conv.h"

#include "kernels/cuda_conv.h"
#include "tests/kernels/cuda/storage.h"

namespace actmatch::kernels::cuda {
namespace {

// P and Q from all four pads, or for a transposed convolution given: `more` rows and columns of x that its last window does not reach.
ConvShape shape(int64_t N, int64_t H, int64_t W, int64_t C, int64_t K, int64_t R, int64_t S, std::array<int64_t, 2> strides,
                std::array<int64_t, 4> pads, std::array<int64_t, 2> dilations = {1, 1}, int64_t groups = 1) {
  ConvShape s;
  s.N = N, s.H = H, s.W = W, s.C = C, s.K = K, s.R = R, s.S = S, s.groups = groups;
  s.stride_h = strides[0], s.stride_w = strides[1], s.pad_top = pads[0], s.pad_left = pads[1];
  s.dilation_h = dilations[0], s.dilation_w = dilations[1];
  s.P = (H + pads[0] + pads[2] - dilations[0] * (R - 1) - 1) / strides[0] + 1;
  s.Q = (W + pads[1] + pads[3] - dilations[1] * (S - 1) - 1) / strides[1] + 1;
  return s;
}

ConvShape draw_shape(RandomSizes& r) {
  for (;;) {
    const int64_t groups = r.chance() ? 1 : r.size(4), instances = r.chance() ? 1 : r.integer(2, 3);
    ConvShape s = shape(instances * r.integer(1, 2), r.size(13), r.size(13), groups * r.size(17, 8), groups * r.size(24, 8), r.size(5),
                        r.size(5), {r.integer(1, 3), r.integer(1, 3)}, {r.integer(0, 3), r.integer(0, 3), r.integer(0, 3), r.integer(0, 3)},
                        {r.integer(1, 2), r.integer(1, 2)}, groups);
    s.instances = instances;
    if (s.P >= 1 && s.Q >= 1) return s;
  }
}

std::vector<ConvShape> shapes() {
  std::vector<ConvShape> all{
      shape(1, 1, 1, 1, 1, 1, 1, {1, 1}, {0, 0, 0, 0}),
      shape(1, 9, 7, 3, 32, 3, 3, {2, 2}, {1, 1, 1, 1}),               // CSAE's first layer
      shape(1, 8, 10, 32, 64, 3, 3, {2, 2}, {1, 1, 1, 1}),             // and its second
      shape(1, 12, 10, 16, 24, 4, 4, {2, 2}, {1, 1, 1, 1}),            // its transposed ones
      shape(1, 14, 12, 1, 32, 4, 4, {2, 2}, {1, 1, 1, 1}),             // and the last
      shape(1, 6, 8, 32, 16, 2, 2, {2, 2}, {0, 0, 0, 0}),              // U-Net
      shape(1, 12, 13, 8, 72, 3, 3, {1, 1}, {1, 1, 1, 1}),             // more than one tile of rows and columns
      shape(1, 7, 11, 5, 9, 2, 3, {3, 2}, {2, 0, 1, 3}),               // nothing even
      shape(1, 11, 9, 15, 21, 3, 2, {1, 1}, {0, 2, 1, 0}, {2, 3}, 3),  // groups of 5 channels and 7 filters
      shape(1, 9, 9, 24, 32, 3, 3, {2, 1}, {1, 1, 1, 1}, {1, 2}, 2),   // groups, 16 bytes at a time in float
      shape(1, 10, 11, 6, 6, 5, 5, {1, 2}, {2, 2, 2, 2}, {1, 1}, 6),   // depthwise
      shape(1, 9, 8, 3, 4, 3, 3, {2, 4}, {2, 1, 1, 2}, {2, 2}),        // pixels that no tap hits, taps in every other class
      shape(1, 10, 7, 4, 3, 2, 1, {3, 3}, {0, 0, 0, 0}),               // a stride wider than the window
      shape(1, 3, 2, 2, 3, 5, 5, {1, 1}, {4, 3, 4, 3}),                // a window wider than the image
      shape(1, 5, 5, 40, 8, 1, 1, {1, 1}, {0, 0, 0, 0}),
  };
  all.push_back(all[3]);
  all.back().P -= 2;  // an output padding beyond the stride
  const size_t count = all.size();
  for (size_t i = 0; i < count; ++i) {
    if (i % 3 == 0) continue;
    ConvShape s = all[i];
    s.instances = 3;
    s.N = i % 2 ? 6 : 3;
    all.push_back(s);
  }
  return all;
}

std::string name(const ConvShape& s, bool aligned) {
  return std::to_string(s.N) + "x" + std::to_string(s.H) + "x" + std::to_string(s.W) + "x" + std::to_string(s.C) + ", " +
         std::to_string(s.K) + " filters " + std::to_string(s.R) + "x" + std::to_string(s.S) + ", groups " + std::to_string(s.groups) +
         ", instances " + std::to_string(s.instances) + (aligned ? ", aligned" : "");
}

// Roundings of a sum of `terms` add up like a random walk, four times which no sum here gets near; the addend and the bias besides.
double epsilons(int64_t terms) { return 16 + 4 * std::sqrt(static_cast<double>(terms)); }
// What such a sum comes to, where of few results every one may have cancelled.
double least(int64_t terms) { return 2 * std::sqrt(static_cast<double>(terms)); }

struct Sizes {
  int64_t x, y, w;
  explicit Sizes(const ConvShape& s)
      : x(s.N * s.H * s.W * s.C), y(s.N * s.P * s.Q * s.K), w(s.instances * s.K * s.R * s.S * (s.C / s.groups)) {}
};

class CudaConvTest : public CudaTest {
 protected:
  template <class T>
  void check_data(const ConvShape& s, size_t offset) {
    const Sizes size(s);
    const auto x = stored<T>(random(size.x)), w = stored<T>(random(size.w)), y = stored<T>(random(size.y));
    const auto of_y = random(s.instances * s.K), of_x = random(s.instances * s.C);
    const int64_t terms = s.R * s.S * std::max(s.C, s.K) / s.groups;
    DeviceAt<T> dx(x, offset), dw(w, offset), dy(y, offset), result_y(y.size(), offset), result_x(x.size(), offset);
    Device<float> bias_y(of_y), bias_x(of_x);

    std::vector<double> want(y.size());
    conv_ref<double>(want.data(), wide(x).data(), wide(w).data(), nullptr, nullptr, s, kNoClip);
    check(conv_forward<T>(nullptr, result_y.data(), dx.data(), dw.data(), nullptr, nullptr, s, kNoClip));
    expect_stored_near<T>(result_y.get(), want, epsilons(terms), "forward", least(terms));

    const Clip clip{-3, 5};
    conv_ref(want.data(), wide(x).data(), wide(w).data(), wide(of_y).data(), wide(y).data(), s, clip);
    check(conv_forward<T>(nullptr, result_y.data(), dx.data(), dw.data(), bias_y.data(), dy.data(), s, clip));
    expect_stored_near<T>(result_y.get(), want, epsilons(terms), "forward with bias, addend and clip", least(terms));

    want.resize(x.size());
    conv_backward_data_ref<double>(want.data(), wide(y).data(), wide(w).data(), nullptr, nullptr, s, kNoClip);
    check(conv_backward_data<T>(nullptr, result_x.data(), dy.data(), dw.data(), nullptr, nullptr, s, kNoClip));
    expect_stored_near<T>(result_x.get(), want, epsilons(terms), "backward", least(terms));

    conv_backward_data_ref(want.data(), wide(y).data(), wide(w).data(), wide(of_x).data(), wide(x).data(), s, kReluClip);
    check(conv_backward_data<T>(nullptr, dx.data(), dy.data(), dw.data(), bias_x.data(), dx.data(), s, kReluClip));
    expect_stored_near<T>(dx.get(), want, epsilons(terms), "transposed with bias and clip, added to its result", least(terms));
  }

  template <class T>
  void check_filter(const ConvShape& s, size_t offset) {
    const Sizes size(s);
    const auto x = stored<T>(random(size.x)), dy = stored<T>(random(size.y));
    const auto old = random(size.w), old_bias = random(s.instances * s.K);
    DeviceAt<T> of_x(x, offset), of_y(dy, offset);
    Scratch scratch(conv_backward_filter_scratch_bytes(s)),
        bias_scratch(conv_backward_bias_scratch_bytes(s.N, s.P * s.Q, s.K, s.instances));
    const int64_t terms = s.N / s.instances * s.P * s.Q;
    for (const bool accumulate : {false, true}) {
      auto want = wide(old);
      conv_backward_filter_ref(want.data(), wide(x).data(), wide(dy).data(), s, accumulate);
      Device<float> dw(old);
      check(conv_backward_filter<T>(nullptr, dw.data(), of_x.data(), of_y.data(), s, accumulate, scratch.data()));
      expect_near(dw.get(), want, epsilons(terms), "filter", least(terms));
      want = wide(old_bias);
      conv_backward_bias_ref(want.data(), wide(dy).data(), s.N, s.P * s.Q, s.K, s.instances, accumulate);
      Device<float> db(old_bias);
      check(conv_backward_bias<T>(nullptr, db.data(), of_y.data(), s.N, s.P * s.Q, s.K, s.instances, accumulate, bias_scratch.data()));
      expect_near(db.get(), want, epsilons(terms), "bias", least(terms));
    }
  }

  template <class Body>
  void each_shape(Body body) {
    std::vector<ConvShape> all = shapes();
    RandomSizes sizes(test_seed());
    for (int i = test_draws(3); i > 0; --i) all.push_back(draw_shape(sizes));
    in_each_order([&] {
      for (const ConvShape& s : all) {
        for (const bool aligned : {true, false}) {
          SCOPED_TRACE(name(s, aligned));
          body(s, aligned ? size_t{0} : 1 + next_misalignment() % 7);
          if (HasFatalFailure()) return;
        }
      }
    });
  }
};

TEST_F(CudaConvTest, DataFloat) {
  each_shape([&](const ConvShape& s, size_t offset) { check_data<float>(s, offset); });
}
TEST_F(CudaConvTest, DataBfloat16) {
  each_shape([&](const ConvShape& s, size_t offset) { check_data<bfloat16>(s, offset); });
}
TEST_F(CudaConvTest, FilterFloat) {
  each_shape([&](const ConvShape& s, size_t offset) { check_filter<float>(s, offset); });
}
TEST_F(CudaConvTest, FilterBfloat16) {
  each_shape([&](const ConvShape& s, size_t offset) { check_filter<bfloat16>(s, offset); });
}

// Parts of the pixels, summed in a second launch.
TEST_F(CudaConvTest, FilterInParts) {
  in_each_order([&] {
    for (const int64_t instances : {1, 2}) {
      ConvShape s = shape(2, 41, 67, 3, 5, 3, 3, {1, 1}, {1, 1, 1, 1});
      s.instances = instances;
      EXPECT_GT(conv_backward_filter_scratch_bytes(s), 0u);
      EXPECT_GT(conv_backward_bias_scratch_bytes(s.N, s.P * s.Q, s.K, s.instances), 0u);
      check_filter<float>(s, 1);
      check_filter<bfloat16>(s, 0);
    }
  });
}

// A part of a batch has the same bits as it would alone, with its own weights.
TEST_F(CudaConvTest, InstancesDoNotMeet) {
  ConvShape together = shape(6, 40, 33, 3, 8, 3, 3, {2, 2}, {1, 1, 1, 1}), alone = together;
  together.instances = 3;
  alone.N = 2;
  const Sizes size(together), part(alone);
  const auto x = random(size.x), w = random(size.w), dy = random(size.y), bias = random(3 * together.K);
  const auto run = [&](const ConvShape& s, const std::vector<float>& of_x, const std::vector<float>& of_w, const std::vector<float>& of_y,
                       const std::vector<float>& of_bias) {
    DeviceAt<float> dx(of_x, 0), dw(of_w, 0), ddy(of_y, 0), db(of_bias, 0), y(of_y.size(), 0), gx(of_x.size(), 0), gw(of_w.size(), 0),
        gb(of_bias.size(), 0);
    Scratch scratch(conv_backward_filter_scratch_bytes(s) + conv_backward_bias_scratch_bytes(s.N, s.P * s.Q, s.K, s.instances));
    check(conv_forward<float>(nullptr, y.data(), dx.data(), dw.data(), db.data(), nullptr, s, kReluClip));
    check(conv_backward_data<float>(nullptr, gx.data(), ddy.data(), dw.data(), nullptr, nullptr, s, kNoClip));
    check(conv_backward_filter<float>(nullptr, gw.data(), dx.data(), ddy.data(), s, false, scratch.data()));
    check(conv_backward_bias<float>(nullptr, gb.data(), ddy.data(), s.N, s.P * s.Q, s.K, s.instances, false, scratch.data()));
    return std::array{y.get(), gx.get(), gw.get(), gb.get()};
  };
  const auto all = run(together, x, w, dy, bias);
  const auto slice = [](const std::vector<float>& v, int64_t i) {
    const auto length = static_cast<std::ptrdiff_t>(v.size()) / 3;
    return std::vector<float>(v.begin() + i * length, v.begin() + (i + 1) * length);
  };
  for (int64_t i = 0; i < 3; ++i) {
    const auto one = run(alone, slice(x, i), slice(w, i), slice(dy, i), slice(bias, i));
    for (size_t result = 0; result < one.size(); ++result) EXPECT_EQ(one[result], slice(all[result], i)) << result << " of " << i;
  }
  EXPECT_EQ(part.x * 3, size.x);
}

TEST_F(CudaConvTest, PassesNan) {
  const ConvShape s = shape(1, 2, 2, 1, 1, 3, 3, {1, 1}, {1, 1, 1, 1});
  DeviceAt<float> x(std::vector<float>{NAN, 1, 1, 1}, 0), w(std::vector<float>(9, 1.0f), 0), y(4, 0);
  check(conv_forward<float>(nullptr, y.data(), x.data(), w.data(), nullptr, nullptr, s, kRelu6Clip));
  for (float v : y.get()) EXPECT_TRUE(std::isnan(v));
}

TEST_F(CudaConvTest, RefusesShapesThatContradictThemselves) {
  const ConvShape good = shape(4, 5, 5, 4, 4, 3, 3, {1, 1}, {1, 1, 1, 1});
  std::vector<ConvShape> bad(6, good);
  bad[0].groups = 3;
  bad[1].instances = 3;
  bad[2].stride_w = 0;
  bad[3].pad_top = -1;
  bad[4].H = int64_t{1} << 30;
  bad[5].P = 0;
  for (const ConvShape& s : bad) {
    EXPECT_EQ(conv_forward<float>(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, s, kNoClip), cudaErrorInvalidValue);
    EXPECT_EQ(conv_backward_data<bfloat16>(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, s, kNoClip), cudaErrorInvalidValue);
    EXPECT_EQ(conv_backward_filter<float>(nullptr, nullptr, nullptr, nullptr, s, false, nullptr), cudaErrorInvalidValue);
  }
  ConvShape none = good;
  none.N = 0;
  EXPECT_EQ(conv_forward<float>(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, none, kNoClip), cudaSuccess);
}

// The reference against figures worked out by hand, and its gradients as transposes of its forward pass:
// <conv(u; w), v> = <u, backward_data(v; w)> = <w, backward_filter(u, v)>.
TEST(ConvReference, CountsNeighbours) {
  ConvShape s = shape(2, 3, 3, 1, 1, 3, 3, {1, 1}, {1, 1, 1, 1});
  s.instances = 2;
  std::vector<double> w(18, 1.0), y(18);
  std::fill(w.begin() + 9, w.end(), 10.0);
  const std::vector<double> x(18, 1.0), bias{0.5, 0.25}, addend(18, 0.125);
  conv_ref(y.data(), x.data(), w.data(), bias.data(), addend.data(), s, Clip{5, 64});
  EXPECT_EQ(y, (std::vector<double>{5, 6.625, 5, 6.625, 9.625, 6.625, 5, 6.625, 5,  //
                                    40.375, 60.375, 40.375, 60.375, 64, 60.375, 40.375, 60.375, 40.375}));
}

TEST(ConvReference, GradientsAreTransposes) {
  std::mt19937 engine(5);
  std::normal_distribution<double> normal;
  const auto numbers = [&](int64_t n) {
    std::vector<double> v(static_cast<size_t>(n));
    for (double& e : v) e = normal(engine);
    return v;
  };
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  for (const ConvShape& s : shapes()) {
    const Sizes size(s);
    const auto u = numbers(size.x), w = numbers(size.w), v = numbers(size.y);
    auto y = v, du = u, dw = w;
    conv_ref<double>(y.data(), u.data(), w.data(), nullptr, nullptr, s, kNoClip);
    conv_backward_data_ref<double>(du.data(), v.data(), w.data(), nullptr, nullptr, s, kNoClip);
    conv_backward_filter_ref(dw.data(), u.data(), v.data(), s, false);
    const double forward = dot(y, v);
    // Up to 10^6 terms of size 1: 10^3 in sum, rounded to 10^-16.
    EXPECT_NEAR(forward, dot(u, du), 1e-9) << name(s, true);
    EXPECT_NEAR(forward, dot(w, dw), 1e-9) << name(s, true);
  }
}

}  // namespace
}  // namespace actmatch::kernels::cuda
