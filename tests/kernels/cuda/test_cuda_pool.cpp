// Pooling and resizing of channels-last tensors, and the plain matrix product.
#include "tests/oracle/pool.h"

#include "tests/kernels/cuda/laid_out.h"
#include "tests/oracle/elementwise.h"
#include "tests/oracle/matmul.h"

namespace actmatch::kernels::cuda {
namespace {

struct PoolCase {
  Shape x;
  std::array<int64_t, 2> kernel, strides;
  std::array<int64_t, 4> pads{0, 0, 0, 0};
  std::array<int64_t, 2> dilations{1, 1};
  bool ceil_mode = false;
};
const PoolCase kPools[] = {{{1, 1, 1, 1}, {1, 1}, {1, 1}},
                           {{2, 8, 7, 9}, {3, 3}, {2, 2}, {1, 1, 1, 1}},
                           {{2, 3, 7, 9}, {2, 3}, {2, 1}, {0, 1, 1, 2}},
                           {{1, 16, 6, 5}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}, true},
                           {{1, 5, 9, 8}, {3, 2}, {2, 3}, {1, 0, 1, 1}, {1, 1}, true},
                           {{2, 4, 9, 11}, {3, 2}, {1, 2}, {2, 1, 0, 1}, {2, 3}},
                           {{2, 8, 5, 7}, {5, 7}, {1, 1}},
                           {{1, 8, 17, 16}, {17, 16}, {1, 1}},
                           {{1, 2, 18, 20}, {16, 17}, {3, 2}, {7, 3, 5, 4}, {1, 1}},
                           {{2, 2, 5, 5}, {1, 1}, {2, 2}}};

// Windows that meet the image: pads are smaller than the window, and none where taps lie apart.
PoolCase draw_pool(RandomSizes& r) {
  for (;;) {
    PoolCase c{{r.size(2), r.size(20, 8), r.size(12), r.size(12)}, {r.integer(1, 4), r.integer(1, 4)}, {r.integer(1, 3), r.integer(1, 3)}};
    if (r.integer(0, 2) == 0) {
      c.dilations = {r.integer(1, 3), r.integer(1, 3)};
    } else {
      for (size_t i = 0; i < 4; ++i) c.pads[i] = r.integer(0, c.kernel[i % 2] - 1);
      c.ceil_mode = r.chance();
    }
    const auto fits = [&](size_t i) { return c.x[i + 2] + c.pads[i] + c.pads[i + 2] >= c.dilations[i] * (c.kernel[i] - 1) + 1; };
    if (fits(0) && fits(1)) return c;
  }
}

class Pooling : public OpTest {
 protected:
  template <class T>
  void agrees(const PoolCase& c, PoolMode mode) {
    const PoolAttrs attrs{mode, c.kernel, c.strides, c.pads, c.dilations, c.ceil_mode};
    const Array x = mode == PoolMode::kMax ? whole_numbers(c.x, -3, 3) : random_array<T>(c.x), old = random_array<T>(c.x);
    const oracle::Operands<double> in{&x};
    const Array want = oracle::forward_of(attrs, in), dy = random_array<T>(want.shape);
    const Array gradient = oracle::backward_of(attrs, in, want, dy)[0];
    PoolShape s;
    s.N = c.x[0];
    s.C = c.x[1];
    s.H = c.x[2];
    s.W = c.x[3];
    s.out_h = want.shape[2];
    s.out_w = want.shape[3];
    for (size_t i = 0; i < 2; ++i) {
      s.kernel[i] = c.kernel[i];
      s.strides[i] = c.strides[i];
      s.dilations[i] = c.dilations[i];
    }
    for (size_t i = 0; i < 4; ++i) s.pads[i] = c.pads[i];
    const std::string what = "pooling " + to_string(c.x);
    OnDevice<T> dx(x, Kind::kChannelsLast), y(want.shape, Kind::kChannelsLast), ddy(dy, Kind::kChannelsLast),
        fresh(c.x, Kind::kChannelsLast), sum(old, Kind::kChannelsLast);
    if (mode == PoolMode::kMax) {
      EXPECT_EQ(max_pool_winner_bytes(s), static_cast<size_t>(want.count()) * (c.kernel[0] * c.kernel[1] <= 255 ? 1 : 4));
      Scratch winner(max_pool_winner_bytes(s));
      check(max_pool(nullptr, y.data(), winner.data(), dx.data(), s));
      expect_same(y.get(), want, what);
      check(max_pool_backward(nullptr, fresh.data(), ddy.data(), winner.data(), s, false));
      check(max_pool_backward(nullptr, sum.data(), ddy.data(), winner.data(), s, true));
      OnDevice<T> again(want.shape, Kind::kChannelsLast);
      check(max_pool(nullptr, again.data(), nullptr, dx.data(), s));
      expect_same(again.get(), want, what + ", values only");
    } else {
      const bool include_pad = mode == PoolMode::kAverageIncludePad;
      check(average_pool(nullptr, y.data(), dx.data(), s, include_pad));
      expect_close<T>(y.get(), want, 300, what, 1);  // up to 272 terms
      check(average_pool_backward(nullptr, fresh.data(), ddy.data(), s, include_pad, false));
      check(average_pool_backward(nullptr, sum.data(), ddy.data(), s, include_pad, true));
    }
    expect_close<T>(fresh.get(), gradient, 64, what + ", backward", 2);
    expect_close<T>(sum.get(), plus(gradient, old), 64, what + ", backward, added", 2);
  }
};

TEST_F(Pooling, ValuesAndGradients) {
  in_all_ways([&] {
    for (const PoolCase& c : and_drawn(kPools, draw_pool))
      for (const PoolMode mode : {PoolMode::kMax, PoolMode::kAverageIncludePad, PoolMode::kAverageExcludePad}) {
        agrees<float>(c, mode);
        agrees<bfloat16>(c, mode);
      }
  });
}

TEST_F(Pooling, PassesNaNOn) {
  in_all_ways([&] {
    PoolShape s;
    s.N = s.C = 1;
    s.H = s.W = s.out_h = s.out_w = 3;
    s.kernel[0] = s.kernel[1] = 3;
    for (int64_t& p : s.pads) p = 1;
    for (int at = 0; at < 9; ++at) {
      std::vector<float> x(9, 1.0f);
      x[static_cast<size_t>(at)] = NAN;
      Device<float> dx(x), y(9);
      check(max_pool(nullptr, y.data(), nullptr, dx.data(), s));
      EXPECT_TRUE(std::isnan(y.get()[4])) << at;
      EXPECT_EQ(std::isnan(y.get()[0]), at == 0 || at == 1 || at == 3 || at == 4) << at;
    }
  });
}

TEST_F(Pooling, ImpossibleWindowsAreRefused) {
  PoolShape s;
  s.N = s.C = s.H = s.W = s.out_h = s.out_w = 1;
  s.strides[0] = 0;
  Device<float> x(1);
  EXPECT_EQ(max_pool(nullptr, x.data(), nullptr, x.data(), s), cudaErrorInvalidValue);
}

class Resizing : public OpTest {
 protected:
  template <class T>
  void agrees(ResizeMode mode, const Shape& shape, int64_t H, int64_t W, Kind kind) {
    const ResizeAttrs attrs{mode, H, W};
    const Array x = random_array<T>(shape), old = random_array<T>(shape);
    const oracle::Operands<double> in{&x};
    const Array want = oracle::forward_of(attrs, in), dy = random_array<T>(want.shape);
    const Array gradient = oracle::backward_of(attrs, in, want, dy)[0];
    const bool last = kind == Kind::kChannelsLast;
    const int64_t N = last ? shape[0] : shape[0] * shape[1], C = last ? shape[1] : 1;
    OnDevice<T> dx(x, kind), y(want.shape, kind), ddy(dy, kind), fresh(shape, kind), sum(old, kind);
    const auto op = static_cast<ResizeOp>(mode);
    const std::string what = "resize " + to_string(shape) + " to " + to_string(want.shape);
    const double summand = sum_of(H * W / (shape[2] * shape[3]));
    check(resize(nullptr, y.data(), dx.data(), op, N, shape[2], shape[3], H, W, C));
    expect_close<T>(y.get(), want, 12, what, 2);  // three interpolations, fractions rounded
    check(resize_backward(nullptr, fresh.data(), ddy.data(), op, N, shape[2], shape[3], H, W, C, false));
    expect_close<T>(fresh.get(), gradient, 64, what + ", backward", summand);
    check(resize_backward(nullptr, sum.data(), ddy.data(), op, N, shape[2], shape[3], H, W, C, true));
    expect_close<T>(sum.get(), plus(gradient, old), 64, what + ", backward, added", summand);
  }
};

TEST_F(Resizing, ValuesAndGradients) {
  using Sizes = std::array<int64_t, 5>;
  const Sizes given[] = {{1, 1, 1, 1, 1}, {3, 2, 3, 7, 5}, {17, 4, 3, 8, 6}, {2, 9, 7, 4, 3}, {5, 1, 2, 3, 9}};
  in_all_ways([&] {
    for (const ResizeMode mode : {ResizeMode::kNearest, ResizeMode::kLinear})
      for (const Kind kind : {Kind::kRowMajor, Kind::kChannelsLast})
        for (const auto& [C, h, w, H, W] : and_drawn(given, [](RandomSizes& r) {
               return Sizes{r.size(20, 8), r.size(9), r.size(9), r.size(9), r.size(18)};
             })) {
          agrees<float>(mode, {2, C, h, w}, H, W, kind);
          agrees<bfloat16>(mode, {2, C, h, w}, H, W, kind);
        }
  });
}

class Product : public OpTest {
 protected:
  template <class To, class From>
  void agrees(GemmShape s, bool repeat_b, bool with_bias, bool accumulate, Clip clip) {
    s.a_stride = s.M * s.K;
    s.b_stride = repeat_b ? 0 : s.K * s.N;
    s.c_stride = s.M * s.N;
    const MatMulAttrs attrs{s.transpose_a, s.transpose_b};
    const Array a = random_array<From>({s.batch, s.transpose_a ? s.K : s.M, s.transpose_a ? s.M : s.K});
    const Array b = random_array<From>({repeat_b ? 1 : s.batch, s.transpose_b ? s.N : s.K, s.transpose_b ? s.K : s.N});
    const Array bias = random_array<To>({s.N}), old = random_array<To>({s.batch, s.M, s.N});
    Array want = oracle::forward_of(attrs, oracle::Operands<double>{&a, &b, with_bias ? &bias : nullptr});
    if (accumulate) want = plus(want, old);
    for (double& v : want.data) v = std::min(std::max(v, static_cast<double>(clip.low)), static_cast<double>(clip.high));
    OnDevice<From> da(a, Kind::kRowMajor), db(b, Kind::kRowMajor);
    OnDevice<To> dbias(bias, Kind::kRowMajor), c(old, Kind::kRowMajor);
    check(gemm(nullptr, c.data(), da.data(), db.data(), with_bias ? dbias.data() : nullptr, s, accumulate, clip));
    // Sums of K products of up to 4 each, against a largest result of about 4 sqrt(K).
    expect_close<To>(c.get(), want, 8 + 4 * std::sqrt(static_cast<double>(s.K)) * 4, "product", sum_of(s.K));
  }
};

TEST_F(Product, AllTransposes) {
  in_each_order([&] {
    using Sizes = std::array<int64_t, 4>;
    const Sizes given[] = {{1, 1, 1, 1}, {5, 3, 7, 2}, {64, 64, 16, 1}, {65, 70, 33, 1}, {3, 70, 1, 3}, {2, 3, 0, 1}, {0, 3, 2, 1}};
    for (const auto& [M, N, K, batch] : and_drawn(
             given,
             [](RandomSizes& r) {
               return Sizes{r.size(70, 64), r.size(70, 64), r.size(40, 16), r.size(3)};
             },
             1))
      for (const bool ta : {false, true})
        for (const bool tb : {false, true}) {
          const GemmShape s{M, N, K, batch, ta, tb};
          agrees<float, float>(s, false, false, false, Clip{});
          agrees<float, bfloat16>(s, true, true, true, Clip{});
          agrees<bfloat16, bfloat16>(s, false, true, false, Clip{0, 1.5f});
        }
  });
}

}  // namespace
}  // namespace actmatch::kernels::cuda
